//! The directives, and what they make of a server.

use std::sync::Arc;

use conf::Arg::{Flag, Many, Optional, Size, Text, Time};
use conf::{Diagnostic, Node, Span, Word, once};
use net::tls::ocsp::Signer;
use net::tls::signatures::NotingKey;
use net::tls::tickets::{TicketKey, TicketKeys, Tickets};
use net::tls::words as openssl;
use rustls::crypto::SupportedKxGroup;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::commands::Commands;
use super::named::Named;
use super::ocsp::Staple;
use super::sessions::{self, Sessions};
use super::variables;
use super::verify::{self, Verify};
use crate::compile::Compiler;
use crate::module::{Module, Scope};
use crate::modules::resolver::ResolverSettings;
use crate::tls::on_demand::{Cache, Source};
use crate::tls::{files, words};
use crate::variables::Template;
use crate::{directives, settings};

/// The protocols over TLS that a client may choose, best first; HTTP/2 only where it is on.
const PROTOCOLS: [&[u8]; 4] = [b"h2", b"http/1.1", b"http/1.0", b"http/0.9"];

/// How much early data a client may send, in bytes. What is not taken has to be skipped within the same bound, and rustls counts it
/// anew with each read until the client's next message is there: four times the 16 kB of nginx let as much through.
const MOST_EARLY_DATA: u32 = 64 << 10;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_ssl_module",
    directives: directives! { SslSettings;
        /// The certificates of the server in PEM format: its own first, then those between it and one that clients trust.
        /// Several lines name certificates of several kinds (RSA and ECDSA); a client gets the first that it can check.
        /// `data:` takes what follows in place of a file. The file is read with the configuration; where its name or that of
        /// a key has variables, in each handshake, and by the worker's user.
        "ssl_certificate" in [HTTP SERVER] (Text("file")) = "" => |c, _, n| {
            c.certificates.get_or_insert_default().push(n.word(0)?.clone());
            Ok(())
        };
        /// The private key of the certificate of the same place. It may be one that only root can read; encrypted ones
        /// are opened with the passwords of `ssl_password_file`.
        "ssl_certificate_key" in [HTTP SERVER] (Text("file")) = "" => |c, _, n| {
            c.certificate_keys.get_or_insert_default().push(n.word(0)?.clone());
            Ok(())
        };
        /// Packs certificates for clients that can unpack them (RFC 8879, zlib): a chain takes about a third less.
        "ssl_certificate_compression" in [HTTP SERVER] (Flag) = "off" => |c, _, n| {
            once(&mut c.certificate_compression, n.flag(0)?, n)
        };
        /// Tells clients with the certificate that it was not revoked: what its authority has signed about that (OCSP), from
        /// `ssl_stapling_file`; without a file the authority is asked, again before an answer ends, and clients that come meanwhile
        /// are told nothing. Its certificate must stand behind ours, or in `ssl_trusted_certificate`. A name in the certificate's URL
        /// is looked up by the `resolver`, or once where there is none.
        "ssl_stapling" in [HTTP SERVER] (Flag) = "off" => |c, _, n| once(&mut c.stapling, (n.flag(0)?, Some(n.span)), n);
        /// The answer of the authority (DER), as `openssl ocsp -respout` writes it. It is read with the configuration: whoever
        /// renews it reloads.
        "ssl_stapling_file" in [HTTP SERVER] (Text("file")) = "" => |c, _, n| {
            once(&mut c.stapling_file, Some(n.word(0)?.clone()), n)
        };
        /// Who is asked, in place of the responder that the certificate names: a URL of `http://`.
        "ssl_stapling_responder" in [HTTP SERVER] (Text("url")) = "" => |c, _, n| {
            once(&mut c.stapling_responder, Some(n.word(0)?.clone()), n)
        };
        /// Whether only what the authority itself has signed, or who it has told to, goes to clients. Otherwise they are left to find
        /// that out.
        "ssl_stapling_verify" in [HTTP SERVER] (Flag) = "off" => |c, _, n| once(&mut c.stapling_verify, n.flag(0)?, n);
        /// A setting of OpenSSL's own configuration, as far as there is something like it: `Ciphersuites` chooses those of
        /// TLS 1.3, `Options` knows `SessionTicket` and `ServerPreference`, `Certificate` and `PrivateKey` name a pair more.
        "ssl_conf_command" in [HTTP SERVER] (Text("name"), Text("value")) = "" => |c, cx, n| {
            c.commands.get_or_insert_default().add(cx, n)
        };
        /// Keeps up to `max` certificates and keys that variables name, for as long as they are used within `inactive`; files are
        /// looked at again after `valid`. `off` reads them in each handshake.
        "ssl_certificate_cache" in [HTTP SERVER] (Text("off | max=N"), Optional(&Text("inactive=time")), Optional(&Text("valid=time"))) = "off" => |c, _, n| {
            once(&mut c.certificate_cache, Cache::compile(n)?, n)
        };
        /// Passwords of keys, one a line; they are tried in turn.
        "ssl_password_file" in [HTTP SERVER] (Text("file")) = "" => |c, cx, n| {
            let passwords = files::passwords(cx, n)?;
            once(&mut c.passwords, passwords, n)
        };
        /// The versions of TLS. Those before 1.2 are not offered, whatever is written.
        "ssl_protocols" in [HTTP SERVER] (Many(&Text("[TLSv1.2] [TLSv1.3]"))) = "TLSv1.2 TLSv1.3" => |c, cx, n| {
            let versions = words::protocols(cx, n)?;
            once(&mut c.protocols, versions, n)
        };
        /// The cipher suites of TLS 1.2 in OpenSSL's words. What is not offered here is named in a warning. Those of TLS 1.3
        /// are all there, or chosen by `ssl_conf_command Ciphersuites`.
        "ssl_ciphers" in [HTTP SERVER] (Text("ciphers")) = "HIGH:!aNULL:!MD5" => |c, cx, n| {
            let suites = words::ciphers(cx, n)?;
            once(&mut c.ciphers, Some((suites, n.clone())), n)
        };
        /// Chooses the cipher suite by the server's order rather than by the client's.
        "ssl_prefer_server_ciphers" in [HTTP SERVER] (Flag) = "off" => |c, _, n| {
            once(&mut c.prefer_server_ciphers, n.flag(0)?, n)
        };
        /// The groups for key exchange: names with colons between them; a client gets the first of its own that is there. `auto` is
        /// `X25519MLKEM768:X25519:prime256v1:secp384r1`.
        "ssl_ecdh_curve" in [HTTP SERVER] (Text("curve")) = "auto" => |c, cx, n| {
            let groups = words::groups(cx, n)?;
            once(&mut c.ecdh_curve, groups, n)
        };
        /// Refuses handshakes of clients that ask for this server (`unrecognized_name`).
        "ssl_reject_handshake" in [HTTP SERVER] (Flag) = "off" => |c, _, n| {
            once(&mut c.reject_handshake, n.flag(0)?, n)
        };
        /// How much is encrypted as one record, at most 16k. Less lets a slow client begin earlier.
        "ssl_buffer_size" in [HTTP SERVER] (Size) = "16k" => |c, _, n| once(&mut c.buffer_size, n.size(0)?, n);
        /// Keeps sessions that clients can take up again: `shared:NAME:SIZE` for all workers, and over reloads;
        /// `builtin[:N]` for N sessions of this server, 20480 without; `none` and `off` keep nothing. Clients that take
        /// tickets need none of it.
        "ssl_session_cache" in [HTTP SERVER] (Text("off | none | builtin[:size] | shared:name:size"), Optional(&Text("shared:name:size"))) = "none" => |c, cx, n| {
            let cache = sessions::cache(cx, n)?;
            once(&mut c.session_cache, cache, n)
        };
        /// Gives clients their sessions to keep, sealed (RFC 5077).
        "ssl_session_tickets" in [HTTP SERVER] (Flag) = "on" => |c, _, n| once(&mut c.session_tickets, n.flag(0)?, n);
        /// Keys that tickets are sealed with: a file of 80 or 48 random bytes (`openssl rand 80`). Gateways with the same file
        /// take each other's. The first seals, those of further lines open too. Without it keys are made, kept over
        /// reloads, and changed once in `ssl_session_timeout`.
        "ssl_session_ticket_key" in [HTTP SERVER] (Text("file")) = "" => |c, cx, n| {
            let key = ticket_key(cx, n)?;
            c.ticket_keys.get_or_insert_default().push(key);
            Ok(())
        };
        /// Takes requests that clients send before the handshake has ended (early data of TLS 1.3, RFC 8446), which saves them
        /// a round trip. Others can hold such a request back and send it after the client has repeated it: upstreams are
        /// told with `proxy_set_header Early-Data $ssl_early_data` (RFC 8470), or what is not safe is refused with 425.
        /// Tickets are good for one use, and sessions are kept in memory: in that of `ssl_session_cache`, or where there is
        /// none in one of 10 megabytes for all servers; `ssl_session_ticket_key` has no effect then.
        "ssl_early_data" in [HTTP SERVER] (Flag) = "off" => |c, _, n| once(&mut c.early_data, (n.flag(0)?, Some(n.span)), n);
        /// How long a session can be taken up again.
        "ssl_session_timeout" in [HTTP SERVER] (Time) = "5m" => |c, _, n| once(&mut c.session_timeout, n.sec(0)?, n);
    },
    variables: variables::ROWS,
    plan: |_, _, _| Ok(()),
};

settings! {
    /// TLS of a server.
    SslSettings => SslValues {
        /// Files of certificates.
        certificates: Vec<Word> = Vec::new();
        /// Files of their keys.
        certificate_keys: Vec<Word> = Vec::new();
        /// In OpenSSL's own words.
        commands: Commands = Commands::default();
        /// Certificates are packed.
        certificate_compression: bool = false;
        /// Whether clients are told of revocation, and where that stands.
        stapling: (bool, Option<Span>) = (false, None);
        /// What they are told.
        stapling_file: Option<Word> = None;
        /// Who is asked for it.
        stapling_responder: Option<Word> = None;
        /// Whether it is verified.
        stapling_verify: bool = false;
        /// What keeps certificates that variables name.
        certificate_cache: Option<Arc<Cache>> = None;
        /// Passwords of keys.
        passwords: Arc<[Vec<u8>]> = Arc::default();
        /// Versions.
        protocols: Arc<[&'static SupportedProtocolVersion]> =
            Arc::new([&rustls::version::TLS12, &rustls::version::TLS13]);
        /// Suites of TLS 1.2, and where they stand.
        ciphers: Option<(Arc<[SupportedCipherSuite]>, Node)> = None;
        /// The server's order counts.
        prefer_server_ciphers: bool = false;
        /// Groups for key exchange.
        ecdh_curve: Arc<[&'static dyn SupportedKxGroup]> = openssl::groups("auto").chosen.into();
        /// Nobody is let in by this name.
        reject_handshake: bool = false;
        /// Bytes in a record.
        buffer_size: u64 = 16 << 10;
        /// Where sessions are kept.
        session_cache: Sessions = Sessions::None;
        /// Tickets are given.
        session_tickets: bool = true;
        /// Keys of files.
        ticket_keys: Vec<Arc<TicketKey>> = Vec::new();
        /// Requests are taken before the handshake has ended; where that stands.
        early_data: (bool, Option<Span>) = (false, None);
        /// Seconds.
        session_timeout: u64 = 300;
    }
}

/// A file of `ssl_session_ticket_key`.
fn ticket_key(cx: &mut Compiler, node: &Node) -> Result<Arc<TicketKey>, Diagnostic> {
    let word = node.word(0)?;
    let bytes = files::read(cx, word, "session ticket key")?;
    TicketKey::of_file(&bytes).map(Arc::new).ok_or_else(|| {
        let sentence = format!("\"{}\" must be 48 or 80 bytes", word.lossy());
        Diagnostic::at(word.span, sentence).instead("make it with: openssl rand 80 > FILE")
    })
}

/// What a server needs to speak TLS.
pub struct ServerTls {
    /// How it shakes hands; none where it has no certificate and refuses all.
    pub config: Option<Arc<ServerConfig>>,
    /// Nobody is let in by its name.
    pub rejects: bool,
    /// What it asks of clients.
    pub verify: Option<Verify>,
    /// Its certificates, where variables name them.
    pub named: Option<Box<Named>>,
    /// What is asked about its certificates.
    pub staples: Vec<Arc<Staple>>,
}

impl ServerTls {
    /// One that refuses all.
    pub fn refusing() -> ServerTls {
        ServerTls { config: None, rejects: true, verify: None, named: None, staples: Vec::new() }
    }

    /// Whether requests are taken before the handshake has ended.
    pub fn takes_early_data(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.max_early_data_size > 0)
    }
}

/// Makes it of the settings; none where the server has nothing to do with TLS. `http2` is whether clients may choose
/// HTTP/2.
pub fn settle(
    scope: &mut Scope,
    http2: bool,
    cx: &mut Compiler,
) -> Result<Option<Box<ServerTls>>, Diagnostic> {
    let mut values = scope.get_mut::<SslSettings>().settle();
    let commands = std::mem::take(&mut values.commands);
    values.session_tickets = commands.session_tickets.unwrap_or(values.session_tickets);
    values.prefer_server_ciphers = commands.prefer_server_ciphers.unwrap_or(values.prefer_server_ciphers);
    // Of several pairs of a kind the last counts.
    values.certificates.extend(commands.certificate);
    values.certificate_keys.extend(commands.key);
    let rejects = values.reject_handshake;
    let verify = verify::settle(scope, cx, !values.certificates.is_empty())?;
    if values.certificates.is_empty() {
        let something = rejects || verify.is_some();
        let tls = ServerTls { config: None, rejects, verify, named: None, staples: Vec::new() };
        return Ok(something.then(|| Box::new(tls)));
    }
    let mut pairs = Vec::new();
    for (at, certificate) in values.certificates.iter().enumerate() {
        let Some(key) = values.certificate_keys.get(at) else {
            let sentence =
                format!("no \"ssl_certificate_key\" is defined for certificate \"{}\"", certificate.lossy());
            return Err(Diagnostic::at(certificate.span, sentence));
        };
        pairs.push((certificate, key));
    }
    let named = named(&values, &pairs, cx)?;
    let mut certified = Vec::new();
    if named.is_none() {
        let stapled = stapled(&values, cx)?;
        for (certificate, key) in pairs {
            let mut pair = files::certified(cx, certificate, key, &values.passwords)?;
            let mut staple = None;
            match &stapled {
                Stapled::Nothing => {}
                Stapled::File(answer) => Arc::make_mut(&mut pair).ocsp = Some(answer.clone()),
                Stapled::Asked => staple = asked(&values, certificate, &pair, scope, cx)?,
            }
            certified.push((pair, staple));
        }
    }
    let staples = certified.iter().filter_map(|(_, staple)| staple.clone()).collect();
    let tls13 = commands.tls13_suites.unwrap_or_else(|| openssl::TLS13_SUITES.to_vec());
    let config = handshake(&values, &tls13, certified, http2, verify.as_ref(), cx)?;
    Ok(Some(Box::new(ServerTls { config: Some(Arc::new(config)), rejects, verify, named, staples })))
}

/// What is told of revocation with the certificates.
enum Stapled {
    Nothing,
    /// What stands in a file.
    File(Vec<u8>),
    /// What authorities answer.
    Asked,
}

fn stapled(values: &SslValues, cx: &mut Compiler) -> Result<Stapled, Diagnostic> {
    const WHAT: &str = "OCSP response";
    let (true, place) = values.stapling else { return Ok(Stapled::Nothing) };
    let complain = |sentence: &str| match place {
        Some(place) => Diagnostic::at(place, sentence),
        None => Diagnostic::nowhere(sentence),
    };
    if values.certificate_compression {
        let sentence = "\"ssl_stapling\" is incompatible with \"ssl_certificate_compression\"";
        return Err(complain(sentence).instead("leave out one of them"));
    }
    let Some(file) = &values.stapling_file else { return Ok(Stapled::Asked) };
    let bytes = files::read(cx, file, WHAT)?;
    net::tls::files::ocsp_response(&bytes).map_err(|error| files::wrong(cx, file, WHAT, &error))?;
    Ok(Stapled::File(bytes))
}

/// What asks about a certificate; none, with a warning, where nobody can be asked.
fn asked(
    values: &SslValues,
    certificate: &Word,
    pair: &CertifiedKey,
    scope: &mut Scope,
    cx: &mut Compiler,
) -> Result<Option<Arc<Staple>>, Diagnostic> {
    let Some((leaf, above)) = pair.cert.split_first() else { return Ok(None) };
    let trusted = verify::trusted(scope, cx)?;
    let resolver = scope.get_mut::<ResolverSettings>().settle();
    let issuers = above.iter().chain(&trusted).map(|der| &**der);
    let responder = values.stapling_responder.as_ref().map(|word| word.lossy());
    let name = certificate.lossy().into_owned();
    let signer = if values.stapling_verify { Signer::Authorized } else { Signer::Anybody };
    match Staple::new(leaf, issuers, responder.as_deref(), signer, resolver, name) {
        Ok(staple) => Ok(Some(Arc::new(staple))),
        Err(why) => {
            let place = values.stapling.1.unwrap_or(certificate.span);
            let sentence = format!("\"ssl_stapling\" ignored, {why}");
            let remedy = "put the authority's certificate behind it in its file; ssl_stapling_file and ssl_stapling_responder help out";
            cx.warn_once(Diagnostic::at(place, sentence).warning().instead(remedy));
            Ok(None)
        }
    }
}

/// The certificates of a server where a variable is in the name of one.
fn named(
    values: &SslValues,
    pairs: &[(&Word, &Word)],
    cx: &mut Compiler,
) -> Result<Option<Box<Named>>, Diagnostic> {
    let mut compiled = Vec::new();
    for (certificate, key) in pairs {
        let certificate = Template::compile(certificate, &mut cx.variables)?;
        compiled.push((certificate, Template::compile(key, &mut cx.variables)?));
    }
    let is_fixed = |template: &Template| template.as_literal().is_some();
    if compiled.iter().all(|(certificate, key)| is_fixed(certificate) && is_fixed(key)) {
        return Ok(None);
    }
    let source = Source {
        folder: cx.paths.conf_prefix.clone(),
        passwords: values.passwords.clone(),
        cache: values.certificate_cache.clone(),
    };
    Ok(Some(Box::new(Named { pairs: compiled, source })))
}

fn handshake(
    values: &SslValues,
    tls13: &[SupportedCipherSuite],
    certified: Vec<Pair>,
    http2: bool,
    verify: Option<&Verify>,
    cx: &mut Compiler,
) -> Result<ServerConfig, Diagnostic> {
    let suites = match &values.ciphers {
        Some((suites, _)) => suites.clone(),
        None => openssl::ciphers("HIGH").chosen.into(),
    };
    if let Some((suites, node)) = &values.ciphers
        && suites.is_empty()
        && values.protocols.contains(&&rustls::version::TLS12)
    {
        return Err(words::no_ciphers(node));
    }
    let context = context(values, &certified, verify);
    let provider = Arc::new(openssl::provider(tls13, &suites, values.ecdh_curve.to_vec()));
    let versions = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&values.protocols)
        .map_err(|error| Diagnostic::nowhere(format!("TLS cannot be set up: {error}")))?;
    let mut config = match verify {
        None => versions.with_no_client_auth(),
        Some(verify) => versions.with_client_cert_verifier(verify.asks.clone()),
    }
    .with_cert_resolver(Arc::new(Certificates::new(certified)));
    config.cert_compressors = match values.certificate_compression {
        true => vec![rustls::compress::ZLIB_COMPRESSOR],
        false => Vec::new(),
    };
    config.ignore_client_order = values.prefer_server_ciphers;
    let offered = PROTOCOLS.get(usize::from(!http2)..).unwrap_or_default();
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    // What the record is wrapped in counts for rustls.
    config.max_fragment_size =
        (values.buffer_size < 16 << 10).then(|| (values.buffer_size as usize + 5).max(32));
    let lifetime = u32::try_from(values.session_timeout).unwrap_or(u32::MAX);
    let mut kept = values.session_cache.clone();
    if let Some(tickets) = one_time_tickets(values, cx) {
        kept = tickets;
        config.max_early_data_size = MOST_EARLY_DATA;
        config.send_half_rtt_data = true;
    } else if values.session_tickets {
        let keys = match values.ticket_keys.is_empty() {
            true => cx.zones.get_or_make(&format!("ssl tickets {lifetime}"), TicketKeys::random),
            false => Arc::new(TicketKeys::Files(values.ticket_keys.clone())),
        };
        config.ticketer = Arc::new(Tickets { keys, context, lifetime });
    }
    config.session_storage = kept.storage(context, lifetime);
    Ok(config)
}

/// Where the sessions are kept of a server that takes early data: each ticket is taken out as it is used, so that nobody has
/// the same data taken again. None where it takes none.
fn one_time_tickets(values: &SslValues, cx: &mut Compiler) -> Option<Sessions> {
    let (true, place) = values.early_data else { return None };
    let mut warn = |sentence: &str, remedy: &str| {
        let warning =
            place.map_or_else(|| Diagnostic::nowhere(sentence), |place| Diagnostic::at(place, sentence));
        cx.warn_once(warning.warning().instead(remedy));
    };
    if !values.protocols.contains(&&rustls::version::TLS13) {
        let sentence = "\"ssl_early_data\" ignored, \"ssl_protocols\" lacks TLSv1.3";
        warn(sentence, "add TLSv1.3 there, or leave it out");
        return None;
    }
    if !values.session_tickets && matches!(values.session_cache, Sessions::None) {
        let sentence = "\"ssl_early_data\" ignored, there are neither tickets nor a session cache, and it comes only with a \
                        session that is taken up again";
        warn(sentence, "write `ssl_session_cache shared:NAME:SIZE;`, or leave out `ssl_session_tickets off`");
        return None;
    }
    if !values.ticket_keys.is_empty() {
        let sentence = "\"ssl_session_ticket_key\" ignored with \"ssl_early_data\": tickets are good for one use there, and \
                        kept in memory, so that no other gateway takes them";
        warn(sentence, "leave out one of them");
    }
    Some(match &values.session_cache {
        Sessions::None => sessions::of_early_data(cx),
        kept => kept.clone(),
    })
}

/// What must be the same where a session is taken up again.
fn context(values: &SslValues, certified: &[Pair], verify: Option<&Verify>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for leaf in certified.iter().filter_map(|(certified, _)| certified.cert.first()) {
        hasher.update(leaf);
    }
    if certified.is_empty() {
        // Those that variables name are told apart by their names.
        for word in &values.certificates {
            hasher.update(&word.text);
        }
    }
    // One that was begun without a certificate is no excuse where one is asked for.
    hasher.update(&[u8::from(verify.is_some())]);
    for name in verify.iter().flat_map(|verify| &verify.asks.authorities) {
        hasher.update(name.as_ref());
    }
    *hasher.finalize().as_bytes()
}

/// The certificates of a server. A client gets the first kind of signature on its list that there is a key for; of several keys
/// of a kind the last counts, as with OpenSSL.
#[derive(Debug)]
pub struct Certificates(Vec<Pair>);

/// A certificate with its key, and what is asked about it.
type Pair = (Arc<CertifiedKey>, Option<Arc<Staple>>);

impl Certificates {
    /// These, whose keys note what they sign with.
    pub fn new(certified: impl IntoIterator<Item = Pair>) -> Certificates {
        let noting = |(certified, staple): Pair| {
            let mut certified = Arc::unwrap_or_clone(certified);
            certified.key = Arc::new(NotingKey(certified.key));
            (Arc::new(certified), staple)
        };
        Certificates(certified.into_iter().map(noting).collect())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = |scheme| {
            self.0.iter().rev().find(|(certified, _)| certified.key.choose_scheme(&[scheme]).is_some())
        };
        let (certified, staple) = match &*self.0 {
            [only] => only,
            _ => hello.signature_schemes().iter().find_map(|scheme| signs(*scheme))?,
        };
        let mut certified = certified.clone();
        if let Some(answer) = staple.as_ref().and_then(|staple| staple.answer()) {
            Arc::make_mut(&mut certified).ocsp = Some(answer.to_vec());
        }
        Some(certified)
    }
}
