//! A server of names: the `--- names` section of a case.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::{io, thread};

/// Types of class IN, as RFC 1035 and RFC 2782 number them.
const ADDRESS: u8 = 1;
const SERVICE: u8 = 33;

/// What it answers to who asks for a name that it does not know, and when it is told to fail.
const NO_SUCH_NAME: u8 = 3;
const FAILURE: u8 = 2;

/// What a name stands for: records of one type, or a failure.
enum Known {
    Fails,
    Records(u8, Vec<Vec<u8>>),
}

/// Starts a server for lines `NAME ADDRESS...`, `NAME srv PRIORITY:WEIGHT:PORT:HOST...`, or `NAME fails`; every other
/// name does not exist. Returns its address.
pub(crate) fn start(text: &str) -> io::Result<String> {
    let mut known = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let words: Vec<&str> = words.collect();
        let records = match &*words {
            ["fails"] => Some(Known::Fails),
            ["srv", services @ ..] => services
                .iter()
                .map(|word| service(word))
                .collect::<Option<_>>()
                .map(|r| Known::Records(SERVICE, r)),
            addresses => {
                let address = |word: &&str| word.parse().ok().map(|ip: Ipv4Addr| ip.octets().to_vec());
                addresses.iter().map(address).collect::<Option<_>>().map(|r| Known::Records(ADDRESS, r))
            }
        };
        known.insert(name, records.ok_or_else(|| io::Error::other(format!("not a name: {line}")))?);
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

/// `PRIORITY:WEIGHT:PORT:HOST` as the data of a record.
fn service(text: &str) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    let mut words = text.splitn(4, ':');
    for _ in 0..3 {
        data.extend(words.next()?.parse::<u16>().ok()?.to_be_bytes());
    }
    for label in words.next()?.split('.') {
        data.push(label.len() as u8);
        data.extend(label.as_bytes());
    }
    data.push(0);
    Some(data)
}

/// The answer to a question (RFC 1035, section 4); nothing to what is none.
fn answer(question: &[u8], known: &BTreeMap<String, Known>) -> Option<Vec<u8>> {
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
    let wanted = *question.get(at + 1)?;
    let (code, records) = match known.get(&labels.join(".")) {
        None => (NO_SUCH_NAME, &[][..]),
        Some(Known::Fails) => (FAILURE, &[][..]),
        Some(Known::Records(kind, records)) if *kind == wanted => (0, &records[..]),
        Some(Known::Records(..)) => (0, &[][..]),
    };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    answer.extend(question.get(12..at + 4)?);
    for data in records {
        // The name of the question, for one second.
        answer.extend([0xc0, 12, 0, wanted, 0, 1, 0, 0, 0, 1, 0, data.len() as u8]);
        answer.extend(data);
    }
    Some(answer)
}
