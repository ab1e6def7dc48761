//! Where a browser goes when it has logged in or out: back to where it came from, if that is one of ours.

use wire::destination::{self, Destination};

use super::SessionRules;

/// Where it wants to go, where it may: a path of this host, or a page of a host that is configured (`return_hosts`); `/` otherwise.
pub fn checked(session: &SessionRules, asked: &[u8]) -> Vec<u8> {
    let is_ours = match destination::of(asked) {
        Some(Destination::Path) => true,
        Some(Destination::Url(length)) => {
            let authority = destination::authority(asked, length);
            let authority = authority.strip_suffix(b":443").unwrap_or(authority);
            session.return_hosts.iter().any(|host| host.as_bytes().eq_ignore_ascii_case(authority))
        }
        None => false,
    };
    if is_ours { asked.to_vec() } else { b"/".to_vec() }
}
