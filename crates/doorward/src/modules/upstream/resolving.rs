//! `server NAME resolve`: the addresses of a name are looked up while its group serves, and again when the answer's
//! time is over. A change makes the group anew; requests go on with the group that they began with.

use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use net::names::Unknown;
use net::{Address, Names};

use super::balance::UNAVAILABLE;
use super::group::{Frame, Peer, Upstream};
use super::server::ServerLine;
use crate::config::Config;
use crate::log::{ErrorLog, Level};
use crate::metrics::PeerCounts;
use crate::worker::Tenure;

/// How often a name is looked up. Most of that finds what is remembered: an answer is good for as long as it says.
const PAUSE: Duration = Duration::from_secs(1);

/// What a name was found to stand for; it outlives a reload.
pub type Remembered = Mutex<Vec<Found>>;

/// An address of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    ip: IpAddr,
    of_service: Option<OfService>,
}

/// What a service says of one of its servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OfService {
    host: String,
    port: u16,
    weight: u16,
    backup: bool,
}

/// A group with servers whose addresses may change.
pub struct Resolving {
    frame: Frame,
    servers: Vec<(ServerLine, Known)>,
    /// Who is asked, by the place among the configuration's `resolver` lines.
    resolver: usize,
    timeout: Duration,
    now: Mutex<Arc<Upstream>>,
    /// Whether a worker looks the names up.
    is_kept: AtomicBool,
}

/// The addresses of a server.
pub enum Known {
    /// They stay.
    Fixed(Vec<Address>),
    /// They are looked up.
    Named(Arc<Remembered>),
}

impl Found {
    fn address(ip: IpAddr) -> Found {
        Found { ip, of_service: None }
    }

    /// The server of a line at this address, and whether it is a backup.
    fn peer(&self, line: &ServerLine) -> (Peer, bool) {
        let port = self.of_service.as_ref().map_or(line.target.port.unwrap_or(80), |service| service.port);
        let mut peer = line.peer(Address::Inet((self.ip, port).into()));
        let Some(service) = &self.of_service else { return (peer, false) };
        peer.server.clone_from(&service.host);
        if peer.weight == 1 {
            // A server that is to get next to nothing gets the least that there is.
            peer.weight = u32::from(service.weight).max(1);
        }
        (peer, service.backup)
    }
}

impl Resolving {
    /// A group with what is known of its servers so far.
    pub(super) fn new(
        frame: Frame,
        servers: Vec<(ServerLine, Known)>,
        resolver: usize,
        timeout: u64,
    ) -> Resolving {
        let nobody = Arc::new(frame.with(Vec::new(), Vec::new(), None));
        let resolving = Resolving {
            frame,
            servers,
            resolver,
            timeout: Duration::from_millis(timeout),
            now: Mutex::new(nobody),
            is_kept: AtomicBool::new(false),
        };
        resolving.renew();
        resolving
    }

    /// The group as it is now.
    pub fn now(&self) -> Arc<Upstream> {
        self.lock().clone()
    }

    /// What is counted of each `server` line: its name in numbers, its limit of connections, the counters.
    pub fn counted(&self) -> impl Iterator<Item = (String, u32, Arc<PeerCounts>)> {
        self.servers.iter().filter_map(|(line, _)| line.shown())
    }

    /// What a line is that these counters belong to, as [`Upstream::state_of`] says it: as its best server, and
    /// unavailable as long as none is found.
    pub fn state_of(&self, counts: &Arc<PeerCounts>, now: u64) -> f64 {
        let group = self.now();
        let is_of_line = |peer: &Peer| peer.counts.as_ref().is_some_and(|known| Arc::ptr_eq(known, counts));
        let servers = (0..group.peers.len()).filter(|at| is_of_line(&group.peers[*at]));
        servers.map(|at| group.state_of(at, now)).fold(UNAVAILABLE, f64::min)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Upstream>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the group anew where the addresses of its servers are others by now.
    fn renew(&self) {
        let mut now = self.lock();
        let mut next = now.next_id;
        let (mut peers, mut backups) = (Vec::new(), Vec::new());
        // A service may name the same server twice.
        let mut known = HashSet::new();
        let (fixed, named): (Vec<_>, Vec<_>) =
            self.servers.iter().partition(|(_, known)| matches!(known, Known::Fixed(_)));
        // As in nginx those that are found join the others behind them, which decides for `hash`.
        for (line, addresses) in fixed.into_iter().chain(named) {
            let found: Vec<(Peer, bool)> = match addresses {
                Known::Fixed(addresses) => addresses.iter().map(|a| (line.peer(a.clone()), false)).collect(),
                Known::Named(remembered) => recall(remembered).iter().map(|found| found.peer(line)).collect(),
            };
            for (mut peer, backup) in found {
                // A server that stays keeps its idle connections and its record.
                let before = now.peers.iter().find(|p| {
                    (&p.server, &p.address, p.weight) == (&peer.server, &peer.address, peer.weight)
                        && !known.contains(&p.id)
                });
                peer.id = before.map_or(next, |before| before.id);
                next += usize::from(before.is_none());
                known.insert(peer.id);
                let into = if line.backup || backup { &mut backups } else { &mut peers };
                into.push(peer);
            }
        }
        let same = |peers: &[Peer], before: Option<&[Peer]>| {
            before.is_some_and(|before| peers.iter().map(|p| p.id).eq(before.iter().map(|p| p.id)))
        };
        if same(&peers, now.peers.get(..now.backups)) && same(&backups, now.peers.get(now.backups..)) {
            return;
        }
        let mut upstream = self.frame.with(peers, backups, Some(&now));
        upstream.next_id = next;
        *now = Arc::new(upstream);
    }

    fn set(&self, remembered: &Remembered, mut found: Vec<Found>) {
        // Servers of names take turns in answering with another order.
        found.sort();
        *recall(remembered) = found;
        self.renew();
    }
}

fn recall(remembered: &Remembered) -> MutexGuard<'_, Vec<Found>> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks the names of a configuration up as long as it is in force. Every worker may call it; the first one does it.
pub fn keep(config: &Config, tenure: &Arc<Tenure>) {
    for resolving in config.upstreams.iter().filter_map(|upstream| upstream.resolving.as_ref()) {
        if resolving.is_kept.swap(true, Ordering::Relaxed) {
            continue;
        }
        let Some(servers) = config.resolvers.get(resolving.resolver) else { continue };
        let names = match Names::new(servers) {
            Ok(names) => Rc::new(names),
            Err(error) => {
                let name = &resolving.frame.name;
                let text = format_args!("names of upstream \"{name}\" cannot be resolved ({error})");
                config.error_log.write(Level::Crit, text);
                continue;
            }
        };
        for (line, known) in &resolving.servers {
            if let Known::Named(remembered) = known {
                let task = Task {
                    resolving: resolving.clone(),
                    names: names.clone(),
                    host: line.target.host.clone(),
                    service: line.service.clone(),
                    remembered: remembered.clone(),
                    log: config.error_log.clone(),
                    tenure: Arc::downgrade(tenure),
                };
                tokio::task::spawn_local(task.run());
            }
        }
    }
}

/// Looks one name up.
struct Task {
    resolving: Arc<Resolving>,
    names: Rc<Names>,
    host: String,
    service: Option<String>,
    remembered: Arc<Remembered>,
    log: ErrorLog,
    tenure: Weak<Tenure>,
}

impl Task {
    async fn run(self) {
        // What went wrong is said once, not each time.
        let mut said = None;
        while self.tenure.upgrade().is_some_and(|tenure| !tenure.retired.load(Ordering::Relaxed)) {
            let found = tokio::time::timeout(self.resolving.timeout, self.look_up()).await;
            let wrong = match found {
                Ok(Ok(found)) => {
                    self.resolving.set(&self.remembered, found);
                    None
                }
                Ok(Err(unknown)) => {
                    if unknown == Unknown::NotFound {
                        // The servers say that there is none, and not only nothing.
                        self.resolving.set(&self.remembered, Vec::new());
                    }
                    Some(unknown.to_string())
                }
                Err(_) => Some("110: Operation timed out".to_owned()),
            };
            if wrong != said {
                if let Some(wrong) = &wrong {
                    self.say(wrong);
                }
                said = wrong;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn look_up(&self) -> Result<Vec<Found>, Unknown> {
        let Some(service) = &self.service else {
            return Ok(self.names.addresses(&self.host).await?.into_iter().map(Found::address).collect());
        };
        let servers = self.names.services(&format!("{service}.{}", self.host)).await?;
        let best = servers.iter().map(|server| server.priority).min();
        let mut found = Vec::new();
        for server in servers {
            let addresses = match self.names.addresses(&server.host).await {
                Ok(addresses) => addresses,
                // One that is not there does not keep the others from being asked.
                Err(Unknown::NotFound) => continue,
                Err(failure) => return Err(failure),
            };
            let of_service = OfService {
                host: server.host,
                port: server.port,
                weight: server.weight,
                backup: Some(server.priority) != best,
            };
            let found_at = |ip| Found { ip, of_service: Some(of_service.clone()) };
            found.extend(addresses.into_iter().map(found_at));
        }
        Ok(found)
    }

    fn say(&self, wrong: &str) {
        let (host, name) = (&self.host, &self.resolving.frame.name);
        let of = match &self.service {
            Some(service) => format!("service {service} of "),
            None => String::new(),
        };
        let text = format_args!("{of}{host} could not be resolved ({wrong}) in upstream \"{name}\"");
        self.log.write(Level::Error, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::upstream::{Failure, Tried};

    fn ip(last: u8) -> Found {
        Found::address(IpAddr::from([127, 0, 0, last]))
    }

    #[test]
    fn a_server_that_stays_keeps_its_number_and_its_record() {
        let remembered = Arc::new(Remembered::default());
        let (frame, line) = crate::modules::upstream::group::of_test("app.test:81");
        let servers = vec![(line, Known::Named(remembered.clone()))];
        let resolving = Resolving::new(frame, servers, 0, 1000);
        let none = resolving.now();
        assert!(none.choose(&mut Tried::default(), 0).is_none());
        resolving.set(&remembered, vec![ip(2), ip(1)]);
        let two = resolving.now();
        let ids = |upstream: &Upstream| upstream.peers.iter().map(|peer| peer.id).collect::<Vec<_>>();
        assert_eq!(ids(&two), [0, 1]);
        // The first fails, and is left alone from then on.
        let choice = two.choose(&mut Tried::default(), 5).expect("both can be asked");
        assert_eq!(two.peers[choice.index].name.as_ref(), "127.0.0.1:81");
        two.release(choice, Failure::Failed, 5);
        // The same answer in another order changes nothing.
        resolving.set(&remembered, vec![ip(1), ip(2)]);
        assert!(Arc::ptr_eq(&two, &resolving.now()));
        resolving.set(&remembered, vec![ip(3), ip(1)]);
        let changed = resolving.now();
        assert_eq!(ids(&changed), [0, 2]);
        for _ in 0..3 {
            let choice = changed.choose(&mut Tried::default(), 6).expect("one can be asked");
            assert_eq!(changed.peers[choice.index].name.as_ref(), "127.0.0.3:81");
            changed.release(choice, Failure::None, 6);
        }
        // Who began with the group as it was gives back to it.
        two.release(two.choose(&mut Tried::default(), 6).expect("the second can be asked"), Failure::None, 6);
        resolving.set(&remembered, Vec::new());
        assert!(resolving.now().peers.is_empty());
    }

    #[test]
    fn what_is_found_for_a_line_is_counted_as_one() {
        let metrics = crate::metrics::Metrics::default();
        let remembered = Arc::new(Remembered::default());
        let (frame, mut line) = crate::modules::upstream::group::of_test("app.test:81");
        line.count(&metrics, "test");
        let resolving = Resolving::new(frame, vec![(line, Known::Named(remembered.clone()))], 0, 1000);
        let counted: Vec<_> = resolving.counted().collect();
        let [(server, 0, counts)] = counted.as_slice() else { panic!("one line, without a limit") };
        assert_eq!(server, "app.test:81");
        assert_eq!(resolving.state_of(counts, 5), 4.0, "nobody is found");
        resolving.set(&remembered, vec![ip(1), ip(2)]);
        let group = resolving.now();
        assert!(group.peers.iter().all(|peer| peer.counts.as_ref().is_some_and(|c| Arc::ptr_eq(c, counts))));
        group.release(group.choose(&mut Tried::default(), 5).expect("both can be asked"), Failure::Failed, 5);
        assert_eq!(resolving.state_of(counts, 5), 1.0, "the other one can be asked");
        group.release(group.choose(&mut Tried::default(), 5).expect("one can be asked"), Failure::Failed, 5);
        assert_eq!(resolving.state_of(counts, 5), 4.0, "both have failed");
    }
}
