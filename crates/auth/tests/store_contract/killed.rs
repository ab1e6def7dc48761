//! A process that makes keys and says which of them were acknowledged, to be killed in the middle of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use crate::{key, user, wait};

/// Where the process finds the address of its store.
const ADDRESS: &str = "STORE_CONTRACT_ADDRESS";

/// More keys than are made before it is killed, on the fastest machine.
const MOST: usize = 1_000_000;

/// Starts the process, and reads the ids of as many keys as were acknowledged when `enough` of them were and `kill` has
/// killed something.
pub fn writes_until(address: &str, enough: usize, kill: impl FnOnce(&mut Child)) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::writer", "--ignored", "--nocapture"])
        .env(ADDRESS, address)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ids =
        lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("kept ").map(str::to_owned));
    let mut kept: Vec<String> = ids.by_ref().take(enough).collect();
    assert_eq!(kept.len(), enough, "the writer has ended early");
    kill(&mut child);
    // It might go on with a server that is back at once.
    let _ = child.kill();
    kept.extend(ids);
    child.wait().unwrap();
    assert!(kept.len() < MOST, "it was killed when all was done");
    kept
}

#[test]
#[ignore = "a part of other tests, started by them"]
fn writer() {
    let store = auth::store::open(&std::env::var(ADDRESS).unwrap()).unwrap();
    let user = user("writer");
    wait(store.add_user(user.clone())).unwrap();
    wait(async {
        for _ in 0..MOST {
            let key = key(&user);
            let id = key.id.clone();
            // What is not acknowledged may be lost.
            if store.add_key(key).await.is_err() {
                continue;
            }
            let mut out = std::io::stdout().lock();
            writeln!(out, "kept {id}").unwrap();
            out.flush().unwrap();
        }
    });
}
