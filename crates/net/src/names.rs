//! Names of hosts, asked of DNS servers that the configuration names.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// The servers.
    pub addresses: Vec<SocketAddr>,
    /// How long an answer is remembered, whatever it says itself.
    pub valid: Option<Duration>,
    /// Whether IPv4 addresses are looked for.
    pub ipv4: bool,
    /// Whether IPv6 addresses are looked for.
    pub ipv6: bool,
}

/// Answers are remembered as long as they say. One for each worker thread.
pub struct Names(TokioResolver);

/// Why a name has no address. Display is nginx's number and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// There is no such name, or it has no address.
    NotFound,
    /// The servers do not say.
    ServerFailure,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unknown::NotFound => "3: Host not found",
            Unknown::ServerFailure => "2: Server failure",
        })
    }
}

impl Names {
    /// Asks nobody yet. To be made inside the worker's runtime.
    pub fn new(servers: &Servers) -> io::Result<Names> {
        let server = |address: &SocketAddr| {
            let mut config = NameServerConfig::udp_and_tcp(address.ip());
            config.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
                .into_iter()
                .map(|mut connection| {
                    connection.port = address.port();
                    connection
                })
                .collect();
            config
        };
        let config = ResolverConfig::from_name_servers(servers.addresses.iter().map(server).collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        // The operator named the servers: the machine's own file has no say.
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = match (servers.ipv4, servers.ipv6) {
            (true, true) => LookupIpStrategy::Ipv4AndIpv6,
            (false, true) => LookupIpStrategy::Ipv6Only,
            (_, false) => LookupIpStrategy::Ipv4Only,
        };
        options.positive_min_ttl = servers.valid;
        options.positive_max_ttl = servers.valid;
        builder.build().map(Names).map_err(io::Error::other)
    }

    /// The addresses of a name, at least one.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Unknown> {
        // A dot behind it keeps the machine's search list out.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        match self.0.lookup_ip(absolute).await {
            Ok(found) => {
                let addresses: Vec<IpAddr> = found.iter().collect();
                if addresses.is_empty() { Err(Unknown::NotFound) } else { Ok(addresses) }
            }
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(Unknown::NotFound),
            Err(_) => Err(Unknown::ServerFailure),
        }
    }
}
