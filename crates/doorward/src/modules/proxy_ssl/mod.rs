//! `proxy_ssl_*`: TLS with the servers that requests are passed to.

mod certificate;
mod client;

use std::collections::HashMap;
use std::sync::Arc;

use conf::Arg::{Flag, Many, Number, Optional, Text};
use conf::{Diagnostic, Node, Span, Word, once};
use net::tls::connect::{self, Sessions};
use net::tls::verify::Trust;
use net::tls::words as openssl;
use rustls::{ClientConfig, SupportedCipherSuite, SupportedProtocolVersion};

use crate::compile::Compiler;
use crate::module::{Module, Scope};
use crate::tls::on_demand::Cache;
use crate::tls::{files, words};
use crate::variables::Template;
use crate::{directives, settings};

use certificate::Certificate;
pub use client::{Client, Peer, Unverified};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_proxy_module",
    directives: directives! { ProxySslSettings;
        /// The versions of TLS with servers. Those before 1.2 are not offered, whatever is written.
        "proxy_ssl_protocols" in [HTTP SERVER LOCATION] (Many(&Text("[TLSv1.2] [TLSv1.3]"))) = "TLSv1.2 TLSv1.3" => |c, cx, n| {
            let versions = words::protocols(cx, n)?;
            once(&mut c.protocols, versions, n)
        };
        /// The cipher suites of TLS 1.2 in OpenSSL's words. What is not offered here is named in a warning. Those of TLS 1.3
        /// are always all there.
        "proxy_ssl_ciphers" in [HTTP SERVER LOCATION] (Text("ciphers")) = "DEFAULT" => |c, cx, n| {
            let suites = words::ciphers(cx, n)?;
            once(&mut c.ciphers, Some((suites, n.clone())), n)
        };
        /// Tells the server which name is asked for (SNI): `proxy_ssl_name`, unless it is an address.
        "proxy_ssl_server_name" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.server_name, n.flag(0)?, n);
        /// The name that the server's certificate has to be made for, and that it is told. A port behind it does not count.
        "proxy_ssl_name" in [HTTP SERVER LOCATION] (Text("name")) = "$proxy_host" => |c, cx, n| {
            let name = Template::compile(n.word(0)?, &mut cx.variables)?;
            once(&mut c.name, Some(name), n)
        };
        /// Verifies the server's certificate: that it leads to one of `proxy_ssl_trusted_certificate`, is in force, and is
        /// made for `proxy_ssl_name`. Without it nobody knows who answers.
        "proxy_ssl_verify" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.verify, n.flag(0)?, n);
        /// Most certificates between the server's and the trusted one.
        "proxy_ssl_verify_depth" in [HTTP SERVER LOCATION] (Number) = "1" => |c, _, n| {
            once(&mut c.verify_depth, usize::try_from(n.number(0)?).unwrap_or(usize::MAX), n)
        };
        /// Certificates that are trusted, in PEM format. The file is read with the configuration.
        "proxy_ssl_trusted_certificate" in [HTTP SERVER LOCATION] (Text("file")) = "" => |c, _, n| {
            once(&mut c.trusted_certificate, Some(n.word(0)?.clone()), n)
        };
        /// Revoked certificates, in PEM format: with it every issuer of a chain needs a list there that is in force.
        "proxy_ssl_crl" in [HTTP SERVER LOCATION] (Text("file")) = "" => |c, _, n| {
            once(&mut c.crl, Some(n.word(0)?.clone()), n)
        };
        /// The certificate, in PEM format, that servers are shown which ask for one; `data:` takes what follows in place of a
        /// file. Where a variable names it, it is loaded for each connection. An empty one shows nothing.
        "proxy_ssl_certificate" in [HTTP SERVER LOCATION] (Text("file")) = "" => |c, cx, n| {
            let certificate = Named::compile(n, cx)?;
            once(&mut c.certificate, Some(certificate), n)
        };
        /// The key of that certificate. It may be one that only root can read, unless variables name it.
        "proxy_ssl_certificate_key" in [HTTP SERVER LOCATION] (Text("file")) = "" => |c, cx, n| {
            let key = Named::compile(n, cx)?;
            once(&mut c.certificate_key, Some(key), n)
        };
        /// Keeps certificates and keys that variables name: at most so many, each until it was not used for `inactive`; after
        /// `valid` the file is looked at again. Encrypted keys are not kept.
        "proxy_ssl_certificate_cache" in [HTTP SERVER LOCATION] (Text("off | max=N"), Optional(&Text("inactive=time")), Optional(&Text("valid=time"))) = "off" => |c, _, n| {
            let cache = Cache::compile(n)?;
            once(&mut c.certificate_cache, cache, n)
        };
        /// Passwords of keys, one a line; they are tried in turn.
        "proxy_ssl_password_file" in [HTTP SERVER LOCATION] (Text("file")) = "" => |c, cx, n| {
            let passwords = files::passwords(cx, n)?;
            once(&mut c.passwords, passwords, n)
        };
        /// Takes up sessions again that servers keep, which spares both a part of the handshake.
        "proxy_ssl_session_reuse" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.session_reuse, n.flag(0)?, n);
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

settings! {
    /// TLS with servers.
    ProxySslSettings => ProxySslValues {
        /// Versions.
        protocols: Arc<[&'static SupportedProtocolVersion]> =
            Arc::new([&rustls::version::TLS12, &rustls::version::TLS13]);
        /// Suites of TLS 1.2, and where they stand.
        ciphers: Option<(Arc<[SupportedCipherSuite]>, Node)> = None;
        /// Servers are told the name.
        server_name: bool = false;
        /// The name instead of the server's in the URL.
        name: Option<Template> = None;
        /// The server's certificate is verified.
        verify: bool = false;
        /// Certificates between it and a trusted one.
        verify_depth: usize = 1;
        /// The file of trusted ones.
        trusted_certificate: Option<Word> = None;
        /// The file of revoked ones.
        crl: Option<Word> = None;
        /// Our own certificate.
        certificate: Option<Named> = None;
        /// Its key.
        certificate_key: Option<Named> = None;
        /// What keeps those that variables name.
        certificate_cache: Option<Arc<Cache>> = None;
        /// What opens keys.
        passwords: Arc<[Vec<u8>]> = Arc::default();
        /// Sessions are taken up again.
        session_reuse: bool = true;
    }
}

/// A file that a directive names, perhaps with variables.
#[derive(Clone)]
pub struct Named {
    word: Word,
    template: Template,
}

impl Named {
    fn compile(node: &Node, cx: &mut Compiler) -> Result<Named, Diagnostic> {
        let word = node.word(0)?.clone();
        let template = Template::compile(&word, &mut cx.variables)?;
        Ok(Named { word, template })
    }

    fn is_fixed(&self) -> bool {
        self.template.as_literal().is_some()
    }
}

/// What is made once for all locations of a configuration that say the same.
#[derive(Default)]
pub struct Compiled {
    trusted: HashMap<(Vec<u8>, Vec<u8>), Trusted>,
    configs: HashMap<[u8; 32], Arc<ClientConfig>>,
}

/// Whom to trust, and the digest of the files that say so.
#[derive(Clone)]
struct Trusted {
    trust: Arc<Trust>,
    digest: [u8; 32],
}

/// Makes it of a location's settings; `authority` is what its URL names, where that is known.
pub fn settle(
    scope: &mut Scope,
    cx: &mut Compiler,
    span: Span,
    authority: Option<&[u8]>,
) -> Result<Client, Diagnostic> {
    let values = scope.get_mut::<ProxySslSettings>().settle();
    let suites = match &values.ciphers {
        Some((suites, node)) if suites.is_empty() && values.protocols.contains(&&rustls::version::TLS12) => {
            return Err(words::no_ciphers(node));
        }
        Some((suites, _)) => suites.clone(),
        None => openssl::ciphers("DEFAULT").chosen.into(),
    };
    let certificate = Certificate::settle(&values, cx)?;
    let trusted = match values.verify {
        true => Some(trusted(&values, cx, span)?),
        false => None,
    };
    let mut digest = blake3::Hasher::new();
    digest.update(&[values.protocols.len() as u8]);
    for version in &*values.protocols {
        digest.update(&u16::from(version.version).to_be_bytes());
    }
    digest.update(&[suites.len() as u8]);
    for suite in &*suites {
        digest.update(&u16::from(suite.suite()).to_be_bytes());
    }
    certificate.tell(&mut digest);
    let handshake = *digest.finalize().as_bytes();
    let config = match cx.proxy_ssl.configs.get(&handshake) {
        Some(known) => known.clone(),
        None => {
            let mut config = connect::settings(&values.protocols, &suites)
                .map_err(|error| Diagnostic::at(span, format!("TLS cannot be set up: {error}")))?;
            if let Certificate::Fixed(certified) = &certificate {
                connect::show(&mut config, certified.clone());
            }
            let config = Arc::new(config);
            cx.proxy_ssl.configs.insert(handshake, config.clone());
            config
        }
    };
    // Whom to trust makes another identity of the same handshake.
    digest.update(&[u8::from(values.server_name), u8::from(values.verify)]);
    if let Some(trusted) = &trusted {
        digest.update(&trusted.digest).update(&values.verify_depth.to_be_bytes());
    }
    let sessions =
        values.session_reuse.then(|| cx.zones.get_or_make("proxy_ssl sessions", Sessions::default));
    Ok(Client::new(client::Settings {
        config,
        digest: *digest.finalize().as_bytes(),
        trust: trusted.map(|trusted| (trusted.trust, values.verify_depth)),
        server_name: values.server_name,
        name: values.name,
        certificate,
        sessions,
        authority,
    }))
}

fn trusted(values: &ProxySslValues, cx: &mut Compiler, span: Span) -> Result<Trusted, Diagnostic> {
    let named = |word: &Option<Word>| word.clone().filter(|word| !word.text.is_empty());
    let Some(word) = named(&values.trusted_certificate) else {
        let sentence = "no proxy_ssl_trusted_certificate for proxy_ssl_verify";
        return Err(Diagnostic::at(span, sentence)
            .instead("name the certificates to trust: proxy_ssl_trusted_certificate FILE;"));
    };
    let crl = named(&values.crl);
    let files = (word.text.clone(), crl.as_ref().map(|crl| crl.text.clone()).unwrap_or_default());
    if let Some(known) = cx.proxy_ssl.trusted.get(&files) {
        return Ok(known.clone());
    }
    let trusted = Trusted::read(cx, &word, crl.as_ref())?;
    cx.proxy_ssl.trusted.insert(files, trusted.clone());
    Ok(trusted)
}

impl Trusted {
    fn read(cx: &mut Compiler, word: &Word, crl: Option<&Word>) -> Result<Trusted, Diagnostic> {
        use net::tls::files::{FileError, certificates, revocation_lists};
        const CERTIFICATE: &str = "certificate";
        const CRL: &str = "CRL";
        let mut digest = blake3::Hasher::new();
        let text = files::read(cx, word, CERTIFICATE)?;
        digest.update(&(text.len() as u64).to_be_bytes()).update(&text);
        let wrong = |cx: &Compiler, error| files::wrong(cx, word, CERTIFICATE, &error);
        let trusted = certificates(&text).map_err(|error| wrong(cx, error))?;
        let mut trust = Trust::new(trusted.iter().map(|der| &der[..]))
            .map_err(|_| wrong(cx, FileError::Malformed(CERTIFICATE)))?;
        if let Some(word) = crl {
            let text = files::read(cx, word, CRL)?;
            digest.update(&text);
            let wrong = |cx: &Compiler, error| files::wrong(cx, word, CRL, &error);
            let lists = revocation_lists(&text).map_err(|error| wrong(cx, error))?;
            trust = trust
                .with_crls(lists.iter().map(|der| &der[..]))
                .map_err(|_| wrong(cx, FileError::Malformed(CRL)))?;
        }
        Ok(Trusted { trust: Arc::new(trust), digest: *digest.finalize().as_bytes() })
    }
}
