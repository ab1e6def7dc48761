//! SQLite: the contract, and what is its own.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use auth::store::{Address, Change, Store, StoreError, What, open};

use crate::{contract, gateways, key, killed, server, user, wait, with_user};

fn address(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

#[test]
fn sqlite_holds_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    contract::holds(&|| {
        number.set(number.get() + 1);
        open(&address(&folder.path().join(format!("{}.db", number.get())))).unwrap()
    });
    gateways::hear_of_revocations(&address(&folder.path().join("gateways.db")));
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let address = address(&folder.path().join("killed.db"));
    let kept = killed::writes_until(&address, 300, |child| child.kill().unwrap());
    let store = open(&address).unwrap();
    for id in &kept {
        assert!(wait(store.key_by_id(id)).unwrap().is_some(), "{id}");
    }
}

#[test]
fn only_the_owner_may_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = with_user(&|| open(&address(&folder.path().join("store.db"))).unwrap());
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.len() > 1, "the log of writes is a file of its own");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
    drop(store);
}

#[test]
fn the_files_belong_to_whom_their_folder_belongs_to() {
    // Where root runs this, it is a folder of somebody else.
    let folder = server::folder();
    let (store, _) = with_user(&|| open(&address(&folder.path().join("store.db"))).unwrap());
    let owner = folder.path().metadata().unwrap().uid();
    for file in fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap()) {
        assert_eq!(file.metadata().unwrap().uid(), owner, "{:?}", file.path());
    }
    drop(store);
}

#[test]
fn several_processes_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let again = || open(&address(&folder.path().join("store.db"))).unwrap();
    let ((one, ada), two) = (with_user(&again), again());
    let since = wait(two.changes_since(None)).unwrap().revision;
    assert!(wait(two.user_by_name("ada")).unwrap() == Some(ada.clone()));
    let key = key(&ada);
    wait(two.add_key(key.clone())).unwrap();
    wait(one.revoke_key(&key.id)).unwrap();
    assert!(wait(two.key_by_id(&key.id)).unwrap().unwrap().revoked);
    assert_eq!(wait(two.changes_since(Some(since))).unwrap().what, What::These(vec![Change::Key(key.id)]));
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let refused = || open(&address(&path)).map(|_| ()).unwrap_err();

    fs::write(&path, "this is no database, and longer than the head of one. ".repeat(40)).unwrap();
    assert!(matches!(refused(), StoreError::Corrupt(_)), "{}", refused());
    fs::remove_file(&path).unwrap();

    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    assert!(matches!(refused(), StoreError::Corrupt(_)), "{}", refused());
    drop(other);
    fs::remove_file(&path).unwrap();

    drop(open(&address(&path)).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(refused(), StoreError::Newer { found: 99, .. }), "{}", refused());

    let nowhere = open(&address(&folder.path().join("missing/store.db"))).map(|_| ()).unwrap_err();
    assert!(matches!(nowhere, StoreError::Unavailable(_)));
    assert!(nowhere.to_string().contains("missing/store.db: No such file"), "{nowhere}");
}

#[test]
fn a_file_that_others_write_to_is_waited_for_and_not_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store: Arc<dyn Store> = open(&address(&path)).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(wait(store.add_user(user("ada"))), Err(StoreError::Unavailable(_))));
    // What is read does not wait.
    assert!(wait(store.user_by_name("ada")).unwrap().is_none());
    other.execute_batch("COMMIT").unwrap();
    wait(store.add_user(user("grace"))).unwrap();
}

#[test]
fn addresses() {
    for (text, path) in
        [("sqlite:/a/b.db", "/a/b.db"), ("sqlite:///a/b.db", "/a/b.db"), ("sqlite:b.db", "b.db")]
    {
        let found = Address::parse(text).unwrap();
        assert!(matches!(&found, Address::Sqlite(found) if found == Path::new(path)), "{text} {found:?}");
    }
    for text in ["", "sqlite:", "sqlite::memory:", "/a/b.db", "mysql://root:secret@host/x"] {
        let error = Address::parse(text).unwrap_err();
        assert!(matches!(error, StoreError::Address(_)), "{text}");
        assert!(!error.to_string().contains("secret"));
    }
}
