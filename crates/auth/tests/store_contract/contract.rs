//! The contract: each part is given stores that are empty.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::store::{ApiKey, CHANGES, Change, Changes, Store, StoreError, Time, User, What};

use crate::{key, session, user, wait, with_user};

/// Opens a store that is empty.
type Open<'a> = &'a dyn Fn() -> Arc<dyn Store>;

/// A part of the contract, and how people call it.
type Part = (&'static str, fn(Open<'_>));

/// All of it.
pub fn holds(open: Open<'_>) {
    let parts: [Part; 14] = [
        ("an empty store is empty", an_empty_store_is_empty),
        ("what is kept is found as it was", what_is_kept_is_found_as_it_was),
        ("a name belongs to one user", a_name_belongs_to_one_user),
        ("what belongs to nobody is refused", what_belongs_to_nobody_is_refused),
        ("what no store takes is refused", what_no_store_takes_is_refused),
        ("users change", users_change),
        ("keys are revoked for good", keys_are_revoked_for_good),
        ("rotation is both or nothing", rotation_is_both_or_nothing),
        ("the last use goes forward only", the_last_use_goes_forward_only),
        ("sessions end", sessions_end),
        ("lists are turned page by page", lists_are_turned_page_by_page),
        ("changes are told once and in order", changes_are_told_once_and_in_order),
        ("old changes are everything", old_changes_are_everything),
        ("many at once lose nothing", many_at_once_lose_nothing),
    ];
    for (name, part) in parts {
        eprintln!("contract: {name}");
        part(open);
    }
}

fn an_empty_store_is_empty(open: Open<'_>) {
    let store = open();
    wait(store.ping()).unwrap();
    assert!(wait(store.user_by_name("ada")).unwrap().is_none());
    // Whatever clients type.
    for odd in ["", "a\0b", "\u{1}", "'; DROP TABLE users; --", "%", "*", &"x".repeat(100_000)] {
        assert!(wait(store.user_by_name(odd)).unwrap().is_none());
        assert!(wait(store.user_by_id(odd)).unwrap().is_none());
        assert!(wait(store.key_by_id(odd)).unwrap().is_none());
        assert!(!wait(store.set_disabled(odd, true)).unwrap());
    }
    assert!(wait(store.key_by_id("x")).unwrap().is_none());
    assert!(wait(store.session_by_digest(&[0; 32])).unwrap().is_none());
    assert!(wait(store.users(None, 10)).unwrap().is_empty());
    assert!(wait(store.keys(None, None, 10)).unwrap().is_empty());
    assert!(wait(store.sessions(None, None, 10)).unwrap().is_empty());
    assert!(!wait(store.set_password("x", None)).unwrap());
    assert!(!wait(store.change_user(user("ada"))).unwrap());
    assert!(!wait(store.set_disabled("x", true)).unwrap());
    assert!(!wait(store.revoke_key("x")).unwrap());
    assert!(!wait(store.delete_session(&[0; 32])).unwrap());
    assert_eq!(wait(store.delete_sessions("x")).unwrap(), 0);
    assert_eq!(wait(store.purge_sessions(Time(u64::MAX))).unwrap(), 0);
    // Nothing was changed, so nothing is told.
    assert_eq!(changes(&store, Some(0)).what, What::These(vec![]));
    // Not even a record was made by a touch.
    wait(store.touch_keys(vec![("x".into(), Time(1))])).unwrap();
    wait(store.touch_sessions(vec![([0; 32], Time(1))])).unwrap();
    assert!(wait(store.key_by_id("x")).unwrap().is_none());
    assert!(wait(store.session_by_digest(&[0; 32])).unwrap().is_none());
}

fn what_is_kept_is_found_as_it_was(open: Open<'_>) {
    let (store, ada) = with_user(open);
    assert!(wait(store.user_by_name("ada")).unwrap() == Some(ada.clone()));
    assert!(wait(store.user_by_id(&ada.id)).unwrap() == Some(ada.clone()));
    assert!(wait(store.user_by_name("Ada")).unwrap().is_none());

    let mut bare = user("Łukasz 'x'; DROP TABLE users; --");
    (bare.email, bare.password, bare.scopes, bare.groups, bare.disabled) = (None, None, vec![], vec![], true);
    wait(store.add_user(bare.clone())).unwrap();
    assert!(wait(store.user_by_name(&bare.name)).unwrap() == Some(bare.clone()));

    let plain = key(&ada);
    let full = ApiKey {
        label: String::new(),
        scopes: vec![],
        expires: Some(Time(1_800_000_000)),
        revoked: true,
        last_used: Some(Time(1_700_000_002)),
        ..key(&ada)
    };
    for key in [plain, full] {
        wait(store.add_key(key.clone())).unwrap();
        assert!(wait(store.key_by_id(&key.id)).unwrap() == Some(key));
    }
    let session = session(&ada);
    wait(store.add_session(session.clone())).unwrap();
    assert!(wait(store.session_by_digest(&session.digest)).unwrap() == Some(session));
}

fn a_name_belongs_to_one_user(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let other = user("ada");
    assert!(matches!(wait(store.add_user(other.clone())), Err(StoreError::Conflict(_))));
    assert!(wait(store.user_by_name("ada")).unwrap() == Some(ada.clone()));
    assert!(wait(store.user_by_id(&other.id)).unwrap().is_none());
    let mut same_id = user("grace");
    same_id.id = ada.id;
    assert!(matches!(wait(store.add_user(same_id)), Err(StoreError::Conflict(_))));
    assert!(wait(store.user_by_name("grace")).unwrap().is_none());
}

fn what_belongs_to_nobody_is_refused(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let nobody = user("nobody");
    let (orphan, lost) = (key(&nobody), session(&nobody));
    assert!(matches!(wait(store.add_key(orphan.clone())), Err(StoreError::Conflict(_))));
    assert!(matches!(wait(store.add_session(lost.clone())), Err(StoreError::Conflict(_))));
    assert!(wait(store.key_by_id(&orphan.id)).unwrap().is_none());
    assert!(wait(store.session_by_digest(&lost.digest)).unwrap().is_none());
    // And an id that is taken is not given to another key.
    let first = key(&ada);
    wait(store.add_key(first.clone())).unwrap();
    let second = ApiKey { id: first.id.clone(), ..key(&ada) };
    assert!(matches!(wait(store.add_key(second)), Err(StoreError::Conflict(_))));
    assert!(wait(store.key_by_id(&first.id)).unwrap() == Some(first));
}

fn what_no_store_takes_is_refused(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let refused = |outcome: Result<(), StoreError>| matches!(outcome, Err(StoreError::Invalid(_)));
    for name in ["", " x", "a\r\nX-User: root", "nul\0", &"x".repeat(256)] {
        assert!(refused(wait(store.add_user(user(name)))), "{name:?}");
    }
    for scope in ["", "two words", "line\nfeed", "qu\"ote", "ümlaut", &"x".repeat(129)] {
        let mut bad = user("bad");
        bad.scopes = vec![scope.into()];
        assert!(refused(wait(store.add_user(bad))), "{scope:?}");
        let bad = ApiKey { scopes: vec![scope.into()], ..key(&ada) };
        assert!(refused(wait(store.add_key(bad.clone()))), "{scope:?}");
        assert!(refused(wait(store.rotate_key("x", bad, Time(1))).map(|_| ())), "{scope:?}");
    }
    for groups in [vec!["a,b".into()], vec![String::new()], vec!["x\n".into()], vec!["x".into(); 65]] {
        let mut bad = user("bad");
        bad.groups = groups;
        assert!(refused(wait(store.add_user(bad))));
    }
    assert!(refused(wait(store.set_password(&ada.id, Some("a\nb".into()))).map(|_| ())));
    assert!(refused(wait(store.set_password(&ada.id, Some("x".repeat(600)))).map(|_| ())));
    assert!(wait(store.users(None, 10)).unwrap() == [ada]);
}

fn users_change(open: Open<'_>) {
    let (store, mut ada) = with_user(open);
    assert!(wait(store.set_disabled(&ada.id, true)).unwrap());
    assert!(wait(store.set_password(&ada.id, Some("$other".into()))).unwrap());
    (ada.disabled, ada.password) = (true, Some("$other".into()));
    assert!(wait(store.user_by_id(&ada.id)).unwrap() == Some(ada.clone()));
    assert!(wait(store.set_disabled(&ada.id, false)).unwrap());
    assert!(wait(store.set_password(&ada.id, None)).unwrap());
    (ada.disabled, ada.password) = (false, None);
    assert!(wait(store.user_by_name("ada")).unwrap() == Some(ada.clone()));

    (ada.email, ada.scopes, ada.groups) = (None, vec!["write".into(), "all".into()], vec![]);
    assert!(wait(store.change_user(ada.clone())).unwrap());
    assert!(wait(store.user_by_id(&ada.id)).unwrap() == Some(ada.clone()));
    (ada.email, ada.scopes, ada.groups) = (Some("ada@example.net".into()), vec![], vec!["staff".into()]);
    // What has calls of its own is left alone.
    let other = User { disabled: true, password: Some("$x".into()), created: Time(1), ..ada.clone() };
    assert!(wait(store.change_user(other)).unwrap());
    assert!(wait(store.user_by_id(&ada.id)).unwrap() == Some(ada.clone()));
    ada.scopes = vec!["two words".into()];
    assert!(matches!(wait(store.change_user(ada)), Err(StoreError::Invalid(_))));
}

fn keys_are_revoked_for_good(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let mut key = key(&ada);
    wait(store.add_key(key.clone())).unwrap();
    assert!(key.is_good(Time(1_700_000_002)));
    assert!(wait(store.revoke_key(&key.id)).unwrap());
    assert!(wait(store.revoke_key(&key.id)).unwrap());
    wait(store.touch_keys(vec![(key.id.clone(), Time(1_700_000_005))])).unwrap();
    (key.revoked, key.last_used) = (true, Some(Time(1_700_000_005)));
    assert!(!key.is_good(Time(1_700_000_002)));
    assert!(wait(store.key_by_id(&key.id)).unwrap() == Some(key));
}

fn rotation_is_both_or_nothing(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let mut old = key(&ada);
    wait(store.add_key(old.clone())).unwrap();
    let new = key(&ada);
    assert!(wait(store.rotate_key(&old.id, new.clone(), Time(1_700_000_100))).unwrap());
    old.expires = Some(Time(1_700_000_100));
    assert!(wait(store.key_by_id(&old.id)).unwrap() == Some(old.clone()));
    assert!(wait(store.key_by_id(&new.id)).unwrap() == Some(new.clone()));
    assert!(old.is_good(Time(1_700_000_099)) && !old.is_good(Time(1_700_000_100)));

    // It never lives longer by it.
    let third = key(&ada);
    assert!(wait(store.rotate_key(&old.id, third.clone(), Time(1_700_009_999))).unwrap());
    assert!(wait(store.key_by_id(&old.id)).unwrap() == Some(old.clone()));
    assert!(wait(store.rotate_key(&old.id, key(&ada), Time(1_700_000_050))).unwrap());
    assert!(wait(store.key_by_id(&old.id)).unwrap().unwrap().expires == Some(Time(1_700_000_050)));

    let unborn = key(&ada);
    assert!(!wait(store.rotate_key("nothing", unborn.clone(), Time(1))).unwrap());
    // The new id is taken: the old key stays as it is.
    let clash = ApiKey { id: third.id.clone(), ..key(&ada) };
    assert!(matches!(wait(store.rotate_key(&new.id, clash, Time(1))), Err(StoreError::Conflict(_))));
    assert!(wait(store.key_by_id(&new.id)).unwrap() == Some(new.clone()));
    assert!(wait(store.key_by_id(&third.id)).unwrap() == Some(third));
    let orphan = key(&user("nobody"));
    assert!(matches!(wait(store.rotate_key(&new.id, orphan.clone(), Time(1))), Err(StoreError::Conflict(_))));
    assert!(wait(store.key_by_id(&new.id)).unwrap() == Some(new.clone()));
    // What is revoked has no successor.
    assert!(wait(store.revoke_key(&new.id)).unwrap());
    assert!(matches!(wait(store.rotate_key(&new.id, unborn.clone(), Time(1))), Err(StoreError::Conflict(_))));
    for id in [unborn.id, orphan.id] {
        assert!(wait(store.key_by_id(&id)).unwrap().is_none());
    }
}

fn the_last_use_goes_forward_only(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let (key, session) = (key(&ada), session(&ada));
    wait(store.add_key(key.clone())).unwrap();
    wait(store.add_session(session.clone())).unwrap();
    let last = || {
        let (key, session) = (store.key_by_id(&key.id), store.session_by_digest(&session.digest));
        (wait(key).unwrap().unwrap().last_used, wait(session).unwrap().unwrap().last_seen)
    };
    for (told, known) in
        [(1_700_000_300, 1_700_000_300), (1_700_000_200, 1_700_000_300), (1_700_000_400, 1_700_000_400)]
    {
        wait(store.touch_keys(vec![("nothing".into(), Time(told)), (key.id.clone(), Time(told))])).unwrap();
        wait(store.touch_sessions(vec![([0; 32], Time(told)), (session.digest, Time(told))])).unwrap();
        assert_eq!(last(), (Some(Time(known)), Time(known)));
    }
    wait(store.touch_keys(vec![])).unwrap();
    wait(store.touch_sessions(vec![])).unwrap();
}

fn sessions_end(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let grace = user("grace");
    wait(store.add_user(grace.clone())).unwrap();
    let [one, mut two, mut three] = [session(&ada), session(&ada), session(&ada)];
    (two.expires, three.expires) = (Time(1_700_000_010), Time(1_700_000_011));
    let hers = session(&grace);
    for session in [&one, &two, &three, &hers] {
        wait(store.add_session(session.clone())).unwrap();
    }
    assert!(matches!(wait(store.add_session(one.clone())), Err(StoreError::Conflict(_))));
    // A session that expires now is expired.
    assert_eq!(wait(store.purge_sessions(Time(1_700_000_010))).unwrap(), 1);
    assert!(wait(store.session_by_digest(&two.digest)).unwrap().is_none());
    assert!(wait(store.session_by_digest(&three.digest)).unwrap().is_some());
    assert!(wait(store.delete_session(&three.digest)).unwrap());
    assert!(!wait(store.delete_session(&three.digest)).unwrap());
    wait(store.add_session(three.clone())).unwrap();
    assert_eq!(wait(store.delete_sessions(&ada.id)).unwrap(), 2);
    assert!(wait(store.sessions(Some(&ada.id), None, 10)).unwrap().is_empty());
    assert!(wait(store.sessions(None, None, 10)).unwrap() == [hers]);
    // A use that is told late does not bring it back.
    wait(store.touch_sessions(vec![(one.digest, Time(1_700_000_020))])).unwrap();
    assert!(wait(store.session_by_digest(&one.digest)).unwrap().is_none());
}

fn lists_are_turned_page_by_page(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let grace = user("grace");
    wait(store.add_user(grace.clone())).unwrap();
    for name in ["Zoe", "bob", "äon", "adam", "b"] {
        wait(store.add_user(user(name))).unwrap();
    }
    let names = |after, limit| -> Vec<String> {
        wait(store.users(after, limit)).unwrap().into_iter().map(|user| user.name).collect()
    };
    // By bytes, whatever the language of the server.
    assert_eq!(names(None, 100), ["Zoe", "ada", "adam", "b", "bob", "grace", "äon"]);
    assert_eq!(names(Some("ada"), 3), ["adam", "b", "bob"]);
    assert_eq!(names(Some("az"), 1), ["b"]);
    assert!(names(Some("äon"), 3).is_empty());

    let (mut hers, mut all) = (vec![], vec![]);
    let (mut her_sessions, mut all_sessions) = (vec![], vec![]);
    for number in 0..10 {
        let user = if number % 2 == 0 { &ada } else { &grace };
        let (key, session) = (key(user), session(user));
        wait(store.add_key(key.clone())).unwrap();
        wait(store.add_session(session.clone())).unwrap();
        if number % 2 == 0 {
            hers.push(key.id.clone());
            her_sessions.push(session.digest);
        }
        all.push(key.id);
        all_sessions.push(session.digest);
    }
    for (user, mut keys, mut sessions) in [(Some(&*ada.id), hers, her_sessions), (None, all, all_sessions)] {
        keys.sort();
        sessions.sort();
        let (mut found, mut seen) = (vec![], vec![]);
        loop {
            let page = wait(store.keys(user, found.last().map(String::as_str), 3)).unwrap();
            assert!(page.len() <= 3);
            let more = wait(store.sessions(user, seen.last(), 3)).unwrap();
            if page.is_empty() && more.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|key| key.id));
            seen.extend(more.into_iter().map(|session| session.digest));
        }
        assert_eq!(found, keys);
        assert_eq!(seen, sessions);
    }
}

/// Asks again where a machine with others to serve needs longer for ten thousand changes than a gateway waits.
fn changes(store: &Arc<dyn Store>, since: Option<u64>) -> Changes {
    let start = Instant::now();
    loop {
        match wait(store.changes_since(since)) {
            Err(StoreError::Unavailable(_)) if start.elapsed() < Duration::from_secs(60) => {}
            told => return told.unwrap(),
        }
    }
}

fn changes_are_told_once_and_in_order(open: Open<'_>) {
    let store = open();
    let start = changes(&store, None);
    assert_eq!(start.what, What::Everything);
    let ada = user("ada");
    let (one, two, three) = (key(&ada), key(&ada), session(&ada));
    wait(store.add_user(ada.clone())).unwrap();
    wait(store.add_key(one.clone())).unwrap();
    wait(store.add_session(three.clone())).unwrap();
    wait(store.touch_keys(vec![(one.id.clone(), Time(1_700_000_002))])).unwrap();
    wait(store.rotate_key(&one.id, two.clone(), Time(1_700_000_005))).unwrap();
    wait(store.revoke_key(&two.id)).unwrap();
    wait(store.delete_session(&three.digest)).unwrap();
    wait(store.add_session(three.clone())).unwrap();
    wait(store.delete_sessions(&ada.id)).unwrap();
    let told = changes(&store, Some(start.revision));
    let id = || ada.id.clone();
    let expected = vec![
        Change::User(id()),
        Change::Key(one.id),
        Change::Key(two.id),
        Change::Session(three.digest),
        Change::User(id()),
    ];
    assert_eq!(told.what, What::These(expected));
    assert!(told.revision > start.revision);

    assert_eq!(
        changes(&store, Some(told.revision)),
        Changes { revision: told.revision, what: What::These(vec![]) }
    );
    wait(store.set_disabled(&ada.id, true)).unwrap();
    wait(store.set_password(&ada.id, None)).unwrap();
    wait(store.change_user(ada.clone())).unwrap();
    let next = changes(&store, Some(told.revision));
    assert_eq!(next.what, What::These(vec![Change::User(id()); 3]));
    // A revision of another store, or of what was restored from a copy.
    assert_eq!(changes(&store, Some(next.revision + 1)).what, What::Everything);
    assert_eq!(changes(&store, Some(u64::MAX)).what, What::Everything);
}

fn old_changes_are_everything(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let start = changes(&store, None).revision;
    let flip = |times: u64| {
        wait(async {
            let mut answers = Vec::new();
            for number in 0..times {
                answers.push(store.set_disabled(&ada.id, number % 2 == 0));
                // As many as are answered in time on a machine with others to serve.
                if answers.len() == 100 || number + 1 == times {
                    for answer in answers.drain(..) {
                        assert!(answer.await.unwrap());
                    }
                }
            }
        });
    };
    flip(CHANGES);
    match changes(&store, Some(start)).what {
        What::These(these) => assert_eq!(these.len() as u64, CHANGES),
        What::Everything => panic!("{CHANGES} changes are not told"),
    }
    flip(1);
    assert_eq!(changes(&store, Some(start)).what, What::Everything);
    match changes(&store, Some(start + 1)).what {
        What::These(these) => assert_eq!(these.len() as u64, CHANGES),
        What::Everything => panic!("{CHANGES} changes are not told"),
    }
}

fn many_at_once_lose_nothing(open: Open<'_>) {
    let (store, ada) = with_user(open);
    let since = changes(&store, None).revision;
    let made: HashSet<String> = std::thread::scope(|scope| {
        let one = || {
            wait(async {
                let keys: Vec<ApiKey> = (0..50).map(|_| key(&ada)).collect();
                let answers: Vec<_> = keys.iter().map(|key| store.add_key(key.clone())).collect();
                // A failure among them undoes none of the others.
                let failing = store.add_key(keys[0].clone());
                for answer in answers {
                    answer.await.unwrap();
                }
                assert!(matches!(failing.await, Err(StoreError::Conflict(_))));
                for key in &keys {
                    assert!(store.revoke_key(&key.id).await.unwrap());
                }
                keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let found: HashSet<String> =
        wait(store.keys(None, None, 1000)).unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(found, made);
    let What::These(told) = changes(&store, Some(since)).what else { panic!("changes are forgotten") };
    let told: HashSet<String> = told
        .into_iter()
        .filter_map(|change| match change {
            Change::Key(id) => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(told, made);
}
