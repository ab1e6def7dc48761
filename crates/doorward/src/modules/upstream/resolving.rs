//! `server NAME resolve`: the addresses of a name are looked up while its group serves, and again when the answer's
//! time is over. A change makes the group anew; requests go on with the group that they began with.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use net::names::Unknown;
use net::{Address, Names};

use super::group::{Frame, Peer, ServerLine, Upstream};
use crate::config::Config;
use crate::log::{ErrorLog, Level};
use crate::worker::Tenure;

/// How often a name is looked up. Most of that finds what is remembered: an answer is good for as long as it says.
const PAUSE: Duration = Duration::from_secs(1);

/// Addresses that a name was found to have; they outlive a reload.
pub type Remembered = Mutex<Vec<IpAddr>>;

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

    fn lock(&self) -> MutexGuard<'_, Arc<Upstream>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the group anew where the addresses of its servers are others by now.
    fn renew(&self) {
        let mut now = self.lock();
        let mut next = now.next_id;
        let (mut peers, mut backups) = (Vec::new(), Vec::new());
        let (fixed, named): (Vec<_>, Vec<_>) =
            self.servers.iter().partition(|(_, known)| matches!(known, Known::Fixed(_)));
        // As in nginx those that are found join the others behind them, which decides for `hash`.
        for (line, known) in fixed.into_iter().chain(named) {
            let addresses = match known {
                Known::Fixed(addresses) => addresses.clone(),
                Known::Named(remembered) => {
                    let port = line.target.port.unwrap_or(80);
                    recall(remembered).iter().map(|ip| Address::Inet((*ip, port).into())).collect()
                }
            };
            let into: &mut Vec<Peer> = if line.backup { &mut backups } else { &mut peers };
            for address in addresses {
                let mut peer = line.peer(address);
                // A server that stays keeps its idle connections and its record.
                let before = now.peers.iter().find(|p| p.server == peer.server && p.address == peer.address);
                peer.id = before.map_or(next, |before| before.id);
                next += usize::from(before.is_none());
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

    fn set(&self, remembered: &Remembered, mut addresses: Vec<IpAddr>) {
        // Servers of names take turns in answering with another order.
        addresses.sort();
        addresses.dedup();
        *recall(remembered) = addresses;
        self.renew();
    }
}

fn recall(remembered: &Remembered) -> MutexGuard<'_, Vec<IpAddr>> {
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
    remembered: Arc<Remembered>,
    log: ErrorLog,
    tenure: Weak<Tenure>,
}

impl Task {
    async fn run(self) {
        // What went wrong is said once, not each time.
        let mut said = None;
        while self.tenure.upgrade().is_some_and(|tenure| !tenure.retired.load(Ordering::Relaxed)) {
            let found = tokio::time::timeout(self.resolving.timeout, self.names.addresses(&self.host)).await;
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
                    let (host, name) = (&self.host, &self.resolving.frame.name);
                    let text = format_args!("{host} could not be resolved ({wrong}) in upstream \"{name}\"");
                    self.log.write(Level::Error, text);
                }
                said = wrong;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::upstream::{Failure, Tried};

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
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
}
