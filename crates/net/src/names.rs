//! Names of hosts, asked of DNS servers that the configuration names.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, Record, RecordType};

/// How many aliases in a row a service may stand behind.
const ALIASES: usize = 8;

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

/// One server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHost {
    /// Only those with the lowest number are asked while there are any.
    pub priority: u16,
    /// Its share among those with the same priority.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// Its name, without a dot at the end.
    pub host: String,
}

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

    /// The servers of a service (`_http._tcp.example.com`), at least one.
    pub async fn services(&self, name: &str) -> Result<Vec<ServiceHost>, Unknown> {
        let mut name = absolute(name);
        for _ in 0..ALIASES {
            let failure = match self.0.srv_lookup(name.as_str()).await {
                Ok(found) => match services(&found) {
                    services if services.is_empty() => Unknown::NotFound,
                    services => return Ok(services),
                },
                Err(error) => unknown(&error),
            };
            // The library takes a service behind an alias for none.
            name = self.alias(&name).await.ok_or(failure)?;
        }
        Err(Unknown::NotFound)
    }

    /// What a name is an alias of.
    async fn alias(&self, name: &str) -> Option<String> {
        let found = self.0.lookup(name, RecordType::CNAME).await.ok()?;
        found.answers().iter().find_map(|record| match &record.data {
            RData::CNAME(name) => Some(name.to_ascii()),
            _ => None,
        })
    }

    /// The addresses of a name, at least one.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Unknown> {
        let found = self.0.lookup_ip(absolute(name)).await.map_err(|error| unknown(&error))?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() { Err(Unknown::NotFound) } else { Ok(addresses) }
    }
}

fn services(found: &Lookup) -> Vec<ServiceHost> {
    let service = |record: &Record| match &record.data {
        RData::SRV(service) => Some(ServiceHost {
            priority: service.priority,
            weight: service.weight,
            port: service.port,
            host: service.target.to_ascii().trim_end_matches('.').to_owned(),
        }),
        _ => None,
    };
    // The root stands for a service that is not there.
    found.answers().iter().filter_map(service).filter(|service| !service.host.is_empty()).collect()
}

/// A dot behind a name keeps the machine's search list out.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn unknown(error: &NetError) -> Unknown {
    if error.is_nx_domain() || error.is_no_records_found() {
        Unknown::NotFound
    } else {
        Unknown::ServerFailure
    }
}
