//! `without=`: the parts that an operator takes out of the key.

use wire::Name;

use crate::field_names::FieldNames;

/// Parts of a request that the decision does not depend on, says the operator.
#[derive(Clone, Default)]
pub struct Without {
    /// The method.
    pub method: bool,
    /// The name that the client asked for.
    pub host: bool,
    /// The path.
    pub uri: bool,
    /// The query.
    pub query: bool,
    /// The client's address.
    pub address: bool,
    /// Cookies by name.
    pub cookies: Vec<Box<[u8]>>,
    /// Fields by name, the client's and those that the auth location sets.
    pub fields: FieldNames,
    /// As written.
    pub text: Vec<u8>,
}

impl Without {
    /// Reads the parts between commas; what is none comes back.
    pub fn parse(text: &[u8]) -> Result<Without, Vec<u8>> {
        let mut without = Without { text: text.to_vec(), ..Without::default() };
        for part in text.split(|byte| *byte == b',') {
            match part {
                b"method" => without.method = true,
                b"host" => without.host = true,
                b"uri" => without.uri = true,
                b"query" => without.query = true,
                b"address" => without.address = true,
                [b'c', b'o', b'o', b'k', b'i', b'e', b':', name @ ..] if !name.is_empty() => {
                    without.cookies.push(name.into());
                }
                [b'f', b'i', b'e', b'l', b'd', b':', name @ ..] if !name.is_empty() => {
                    without.fields.insert(name);
                }
                part => return Err(part.to_vec()),
            }
        }
        Ok(without)
    }

    /// Whether all that a variable shows is taken out.
    pub fn hides(&self, variable: &str) -> bool {
        if let Some(cookie) = variable.strip_prefix("cookie_") {
            return self.hides_cookie(cookie.as_bytes());
        }
        if let Some(field) = variable.strip_prefix("http_") {
            let name = field.replace('_', "-");
            return (self.host && field == "host") || self.hides_field(name.as_bytes());
        }
        match variable {
            "request_method" => self.method,
            "host" => self.host,
            // Path and query have parts of their own.
            "request_uri" => true,
            _ => self.address && ADDRESS.contains(&variable),
        }
    }

    /// Whether a field is taken out.
    pub fn hides_field(&self, name: &[u8]) -> bool {
        self.fields.contains(Name::of(name), name)
    }

    /// Whether a cookie is taken out; names in any case, as `$cookie_name` has them.
    pub fn hides_cookie(&self, name: &[u8]) -> bool {
        self.cookies.iter().any(|cookie| cookie.eq_ignore_ascii_case(name))
    }
}

/// Variables that show where the client is.
const ADDRESS: [&str; 8] = [
    "remote_addr",
    "remote_port",
    "binary_remote_addr",
    "realip_remote_addr",
    "realip_remote_port",
    "proxy_protocol_addr",
    "proxy_protocol_port",
    "proxy_add_x_forwarded_for",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_out_by_name() {
        let Ok(without) = Without::parse(b"uri,address,cookie:theme,field:X-Trace") else {
            panic!("every part is one")
        };
        assert!(without.uri && without.address && !without.host && !without.method);
        for hidden in ["remote_addr", "cookie_theme", "http_x_trace"] {
            assert!(without.hides(hidden), "{hidden}");
        }
        for kept in ["host", "http_cookie", "cookie_sid", "http_authorization", "request_method", "scheme"] {
            assert!(!without.hides(kept), "{kept}");
        }
        for wrong in [&b"path"[..], b"cookie:", b"uri,", b""] {
            assert!(Without::parse(wrong).is_err());
        }
    }
}
