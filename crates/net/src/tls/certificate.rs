//! What a certificate says of itself, as OpenSSL shows it to nginx's variables.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::DistinguishedName;
use x509_parser::asn1_rs::{Any, Sequence, Tag, ToDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// A certificate that was read.
pub struct Shown<'d>(X509Certificate<'d>);

impl<'d> Shown<'d> {
    /// Reads it (DER); none where it cannot be read.
    pub fn parse(der: &'d [u8]) -> Option<Shown<'d>> {
        X509Certificate::from_der(der).ok().map(|(_, parsed)| Shown(parsed))
    }

    /// Whom it is about.
    pub fn subject(&self, style: Style) -> String {
        style.write(self.0.subject())
    }

    /// Who issued it.
    pub fn issuer(&self, style: Style) -> String {
        style.write(self.0.issuer())
    }

    /// Its number: one byte at least, and no zeros in front of others.
    pub fn serial(&self) -> &[u8] {
        let raw = self.0.raw_serial();
        let first = raw.iter().position(|byte| *byte != 0).unwrap_or(raw.len());
        match raw.get(first..).unwrap_or_default() {
            [] => &[0],
            digits => digits,
        }
    }

    /// When it begins to be valid, in seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.0.validity().not_before.timestamp()
    }

    /// When it ends to be valid, the same way.
    pub fn not_after(&self) -> i64 {
        self.0.validity().not_after.timestamp()
    }

    /// Its subject as a server names whom it trusts.
    pub fn distinguished_name(&self) -> Option<DistinguishedName> {
        let (_, sequence) = Sequence::from_der(self.0.subject().as_raw()).ok()?;
        Some(DistinguishedName::in_sequence(&sequence.content))
    }
}

/// How a name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `CN=name,C=DE` (RFC 2253).
    Rfc2253,
    /// `/C=DE/CN=name`.
    Oneline,
}

impl Style {
    fn write(self, name: &X509Name<'_>) -> String {
        match self {
            Style::Rfc2253 => rfc2253(name),
            Style::Oneline => oneline(name),
        }
    }
}

/// SHA-1 of a certificate.
pub fn fingerprint(der: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref().to_vec()
}

/// A certificate in PEM format, with a line feed at its end.
pub fn pem(der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("CERTIFICATE", der), config)
}

/// OpenSSL's short names of the parts of a name.
static NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];

/// OpenSSL's short name of a part, or its number, and whether it has a name.
fn short_name(attribute: &AttributeTypeAndValue<'_>) -> (String, bool) {
    let number = attribute.attr_type().to_id_string();
    match NAMES.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => ((*name).to_owned(), true),
        None => (number, false),
    }
}

/// A value that is text, as UTF-8.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes: &[u8] = value.data;
    Some(match value.tag() {
        Tag::Utf8String => String::from_utf8_lossy(bytes).into_owned(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString | Tag::T61String => {
            bytes.iter().map(|byte| char::from(*byte)).collect()
        }
        Tag::BmpString => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        Tag::UniversalString => {
            let units =
                bytes.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => return None,
    })
}

/// As `X509_NAME_print_ex` does with `XN_FLAG_RFC2253`: the last part first.
fn rfc2253(name: &X509Name<'_>) -> String {
    let sets: Vec<_> = name.iter_rdn().collect();
    let mut out = String::new();
    for (at, set) in sets.iter().rev().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let attributes: Vec<_> = set.iter().collect();
        for (at, attribute) in attributes.iter().rev().enumerate() {
            if at > 0 {
                out.push('+');
            }
            let (name, known) = short_name(attribute);
            out.push_str(&name);
            out.push('=');
            match text(attribute.attr_value()).filter(|_| known) {
                Some(text) => escape(&text, &mut out),
                None => {
                    let der = attribute.attr_value().to_der_vec().unwrap_or_default();
                    out.push('#');
                    out.push_str(&upper_hex(&der));
                }
            }
        }
    }
    out
}

/// Escapes a value (RFC 2253, 2.4), and bytes that are no printable ASCII, as OpenSSL does.
fn escape(text: &str, out: &mut String) {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let at_an_end = (at == 0 && matches!(byte, b'#' | b' ')) || (at == last && byte == b' ');
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            _ if at_an_end => out.extend(['\\', char::from(byte)]),
            0..0x20 | 0x7f.. => {
                out.push('\\');
                out.push_str(&upper_hex(&[byte]));
            }
            _ => out.push(char::from(byte)),
        }
    }
}

/// As `X509_NAME_oneline` does.
fn oneline(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for attribute in name.iter_attributes() {
        out.push('/');
        out.push_str(&short_name(attribute).0);
        out.push('=');
        for byte in attribute.attr_value().data {
            match byte {
                b' '..=b'~' => out.push(char::from(*byte)),
                _ => {
                    out.push_str("\\x");
                    out.push_str(&upper_hex(&[*byte]));
                }
            }
        }
    }
    out
}

/// Bytes in hexadecimal digits, with capitals.
pub fn upper_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
