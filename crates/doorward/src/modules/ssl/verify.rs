//! `ssl_verify_client`: certificates of clients. A handshake takes any; what is wrong with one is answered in HTTP.

use std::sync::Arc;

use conf::Arg::{Choice, Number, Text};
use conf::{Diagnostic, Word, once};
use net::tls::certificate::Shown;
use net::tls::client_auth::AnyCertificate;
use net::tls::files::{certificates, revocation_lists};
use net::tls::verify::{Purpose, Refusal, Trust};
use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::ocsp::{self, Doubt, Ocsp};
use super::variables;
use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::{Module, Scope};
use crate::tls::files::{read, wrong};
use crate::{directives, settings};

/// The directives about certificates of clients.
pub static MODULE: Module = Module {
    name: "ngx_http_ssl_module",
    directives: directives! { VerifySettings;
        /// Asks clients for a certificate and verifies it: `on` refuses those without (496 for `error_page`), and one that
        /// is not trusted (495), with 400 for the client; `optional` lets in who has none; `optional_no_ca` also lets in
        /// who has one that no known authority issued, for a service to judge by `$ssl_client_cert`.
        "ssl_verify_client" in [HTTP SERVER] (Choice(&["off", "on", "optional", "optional_no_ca"])) = "off" => |c, _, n| {
            let mode = match n.bytes(0) {
                b"on" => Mode::On,
                b"optional" => Mode::Optional,
                b"optional_no_ca" => Mode::OptionalNoAuthority,
                _ => Mode::Off,
            };
            once(&mut c.mode, (mode, Some(n.word(0)?.clone())), n)
        };
        /// How many certificates may stand between a client's and one that is trusted.
        "ssl_verify_depth" in [HTTP SERVER] (Number) = "1" => |c, _, n| {
            once(&mut c.depth, usize::try_from(n.number(0)?).unwrap_or(0), n)
        };
        /// Authorities whose certificates clients may have, in PEM format; clients are told of them.
        "ssl_client_certificate" in [HTTP SERVER] (Text("file")) = "" => |c, _, n| {
            once(&mut c.authorities, Some(n.word(0)?.clone()), n)
        };
        /// The same, and clients are not told of them.
        "ssl_trusted_certificate" in [HTTP SERVER] (Text("file")) = "" => |c, _, n| {
            once(&mut c.trusted, Some(n.word(0)?.clone()), n)
        };
        /// Lists of revoked certificates in PEM format: one of each authority up to the one that is trusted. They are read
        /// with the configuration, and anew on a reload.
        "ssl_crl" in [HTTP SERVER] (Text("file")) = "" => |c, _, n| once(&mut c.lists, Some(n.word(0)?.clone()), n);
    },
    variables: variables::OF_CLIENTS,
    plan: |_, _, _| Ok(()),
};

settings! {
    /// What is asked of clients.
    VerifySettings => VerifyValues {
        /// Whether, and where that stands.
        mode: (Mode, Option<Word>) = (Mode::Off, None);
        /// Certificates between.
        depth: usize = 1;
        /// File of authorities that clients are told of.
        authorities: Option<Word> = None;
        /// File of others.
        trusted: Option<Word> = None;
        /// File of what they revoked.
        lists: Option<Word> = None;
    }
}

/// Whether clients are asked for a certificate, and who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody is asked.
    Off,
    /// Everybody must have one that is trusted.
    On,
    /// Who has one must have one that is trusted.
    Optional,
    /// It may be one of an authority that is not known.
    OptionalNoAuthority,
}

/// What a server asks of its clients.
pub struct Verify {
    /// Who is let in.
    pub mode: Mode,
    /// Asks in the handshake.
    pub asks: Arc<AnyCertificate>,
    /// Asks authorities about them.
    pub ocsp: Option<Ocsp>,
    trust: Trust,
    depth: usize,
}

/// A client's certificate, and whether it is trusted.
pub struct ClientCertificate {
    /// The certificate (DER).
    pub leaf: Box<[u8]>,
    /// Why it is not trusted, if so.
    pub verdict: Result<(), Refusal>,
    /// What its authorities have against it, where they were asked.
    pub doubt: Option<Doubt>,
}

/// Makes it of the settings; none where nobody is asked. A server without a certificate of its own (`shakes_hands`) reads no
/// files: another one's handshake says who its clients are.
pub fn settle(
    scope: &mut Scope,
    cx: &mut Compiler,
    shakes_hands: bool,
) -> Result<Option<Verify>, Diagnostic> {
    let values = scope.get_mut::<VerifySettings>().settle();
    let (mode, place) = values.mode;
    if mode == Mode::Off {
        return Ok(None);
    }
    if !shakes_hands {
        let asks = Arc::new(AnyCertificate { authorities: Vec::new() });
        return Ok(Some(Verify { mode, asks, ocsp: None, trust: Trust::default(), depth: 0 }));
    }
    if mode != Mode::OptionalNoAuthority && values.authorities.is_none() && values.trusted.is_none() {
        let sentence = "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client";
        let complaint = match place {
            Some(place) => Diagnostic::at(place.span, sentence),
            None => Diagnostic::nowhere(sentence),
        };
        return Err(complaint.instead("name a file with the authorities that clients have certificates of"));
    }
    let ocsp = ocsp::settle(scope, mode)?;
    let told = authorities(cx, values.authorities.as_ref())?;
    let trusted = authorities(cx, values.trusted.as_ref())?;
    let mut hints = Vec::new();
    for name in told.iter().filter_map(|der| Shown::parse(der)?.distinguished_name()) {
        if hints.iter().all(|known: &DistinguishedName| known.as_ref() != name.as_ref()) {
            hints.push(name);
        }
    }
    let unreadable = |word: &Option<Word>, what: &str| {
        let word = word.as_ref();
        let name = word.map(|word| word.lossy().into_owned()).unwrap_or_default();
        let sentence = format!("cannot load {what} \"{name}\": it cannot be read");
        word.map_or_else(
            || Diagnostic::nowhere(sentence.clone()),
            |word| Diagnostic::at(word.span, sentence.clone()),
        )
    };
    let all = told.iter().chain(&trusted).map(|der| &**der);
    let mut trust = Trust::new(all).map_err(|_| unreadable(&values.authorities, "certificate"))?;
    if let Some(word) = &values.lists {
        const WHAT: &str = "CRL";
        let text = read(cx, word, WHAT)?;
        let lists = revocation_lists(&text).map_err(|error| wrong(cx, word, WHAT, &error))?;
        trust =
            trust.with_crls(lists.iter().map(|list| &**list)).map_err(|_| unreadable(&values.lists, WHAT))?;
    }
    Ok(Some(Verify {
        mode,
        asks: Arc::new(AnyCertificate { authorities: hints }),
        ocsp,
        trust,
        depth: values.depth,
    }))
}

/// Certificates of authorities that a server names, for clients or beside them.
pub fn trusted(scope: &mut Scope, cx: &mut Compiler) -> Result<Vec<CertificateDer<'static>>, Diagnostic> {
    let values = scope.get_mut::<VerifySettings>().settle();
    let mut found = authorities(cx, values.trusted.as_ref())?;
    found.extend(authorities(cx, values.authorities.as_ref())?);
    Ok(found)
}

fn authorities(cx: &mut Compiler, word: Option<&Word>) -> Result<Vec<CertificateDer<'static>>, Diagnostic> {
    const WHAT: &str = "certificate";
    let Some(word) = word else { return Ok(Vec::new()) };
    let text = read(cx, word, WHAT)?;
    certificates(&text).map_err(|error| wrong(cx, word, WHAT, &error))
}

impl Verify {
    /// Looks at what a client has shown, its own certificate first.
    pub fn judge(&self, shown: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
        let leaf = shown.first()?;
        let verdict = self.trust.verify(shown, self.depth, Purpose::Client, UnixTime::now());
        Some(ClientCertificate { leaf: leaf.to_vec().into(), verdict, doubt: None })
    }

    /// The certificates (DER) from the client's own to the trusted one, where authorities are to be asked about them.
    pub fn to_ask_about(&self, shown: &[CertificateDer<'_>]) -> Vec<Vec<u8>> {
        self.trust.chain(shown, self.depth, UnixTime::now())
    }
}

/// The status that a request at an address of TLS is refused with: for speaking plain HTTP, for coming before the handshake has
/// ended, for another name than that was about, or for the client's certificate.
pub fn refusal(ex: &Exchange<'_>) -> Option<u16> {
    let Some(tls) = ex.visit.client.tls.get() else {
        ex.log(Level::Info, format_args!("client sent plain HTTP request to HTTPS port"));
        return Some(497);
    };
    let asked = ex.server.tls.as_ref()?;
    if ex.visit.client.is_early() && asked.config.is_some() && !asked.takes_early_data() {
        // The handshake was about another server. Behind it the client may ask again (RFC 8470, 5.2).
        ex.log(Level::Info, format_args!("client sent early data for a server without \"ssl_early_data\""));
        return Some(425);
    }
    let verify = asked.verify.as_ref()?;
    if tls.negotiated.as_ref().is_some_and(|name| name.as_bytes() != ex.visit.host) {
        let what = "client attempted to request the server name different from the one that was negotiated";
        ex.log(Level::Info, format_args!("{what}"));
        return Some(421);
    }
    match &tls.outcome.get()?.certificate {
        Some(ClientCertificate { verdict: Err(refusal), .. })
            if verify.mode != Mode::OptionalNoAuthority || !lacks_authority(*refusal) =>
        {
            let number = refusal.number();
            ex.log(Level::Info, format_args!("client SSL certificate verify error: ({number}:{refusal})"));
            Some(495)
        }
        Some(ClientCertificate { doubt: Some(doubt), .. }) => {
            ex.log(Level::Info, format_args!("client SSL certificate verify error: {}", doubt.words()));
            Some(495)
        }
        None if verify.mode == Mode::On => {
            ex.log(Level::Info, format_args!("client sent no required SSL certificate"));
            Some(496)
        }
        _ => None,
    }
}

/// Whether nothing else is wrong with it than that its authority is not known.
fn lacks_authority(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::SelfSigned
            | Refusal::SelfSignedInChain
            | Refusal::IssuerNotFoundLocally
            | Refusal::FirstNotVerified
    )
}
