//! A server of names: the `--- names` section of a case.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::{io, thread};

/// Type A of class IN, as RFC 1035 numbers them.
const ADDRESS_IN: [u8; 4] = [0, 1, 0, 1];

/// What it answers to who asks for a name that it does not know, and when it is told to fail.
const NO_SUCH_NAME: u8 = 3;
const FAILURE: u8 = 2;

/// Starts a server for lines `NAME ADDRESS...`, or `NAME fails`; every other name does not exist. Returns its address.
pub(crate) fn start(text: &str) -> io::Result<String> {
    let mut known = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let addresses = match words.clone().next() {
            Some("fails") => None,
            _ => Some(words.map(str::parse).collect::<Result<Vec<Ipv4Addr>, _>>().map_err(io::Error::other)?),
        };
        known.insert(name, addresses);
    }
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    let address = socket.local_addr()?.to_string();
    // It waits for questions until the test program ends.
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut question) {
            if let Some(answer) = answer(&question[..length], &known) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    Ok(address)
}

/// The answer to a question (RFC 1035, section 4); nothing to what is none.
fn answer(question: &[u8], known: &BTreeMap<String, Option<Vec<Ipv4Addr>>>) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = question.get(at..at + 4)?;
    let (code, addresses) = match known.get(&labels.join(".")) {
        None => (NO_SUCH_NAME, &[][..]),
        Some(None) => (FAILURE, &[][..]),
        Some(Some(addresses)) if kind == ADDRESS_IN => (0, &addresses[..]),
        Some(Some(_)) => (0, &[][..]),
    };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    answer.extend(&question[12..at + 4]);
    for address in addresses {
        // The name of the question, for one second.
        answer.extend([0xc0, 12]);
        answer.extend(ADDRESS_IN);
        answer.extend([0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
