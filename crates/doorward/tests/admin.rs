//! `doorward user`, `doorward key`, `doorward session`, on a store in a file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use auth::api_key::Presented;
use auth::session::NewSession;
use auth::store::{ApiKey, Session, Store, Time, User, hex};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a store.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn address(&self) -> String {
        format!("sqlite:{}/store.db", self.path().display())
    }

    /// Runs the program with these words, the store's address and an input.
    fn run_with(&self, words: &str, input: &str) -> Output {
        let mut words: Vec<&str> = words.split(' ').collect();
        let address = self.address();
        words.extend(["--store", &address]);
        run(&words, input)
    }

    /// What the program says, when all is well.
    fn says(&self, words: &str) -> String {
        self.says_with(words, "")
    }

    fn says_with(&self, words: &str, input: &str) -> String {
        let output = self.run_with(words, input);
        assert!(output.status.success(), "{words}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Objects that the program shows.
    fn shows(&self, words: &str) -> Vec<Value> {
        self.says(&format!("{words} --json"))
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Why the program refuses.
    fn refuses(&self, words: &str) -> String {
        let output = self.run_with(words, "");
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(output.stdout.is_empty(), "{words}");
        stderr(&output)
    }

    /// Asks the store itself.
    fn ask<T>(&self, question: impl FnOnce(&dyn Store) -> auth::store::Answer<T>) -> T {
        let store = auth::store::open(&self.address()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(question(&*store)).unwrap()
    }

    fn user(&self, name: &str) -> User {
        self.ask(|store| store.user_by_name(name)).unwrap()
    }

    fn key(&self, id: &str) -> ApiKey {
        self.ask(|store| store.key_by_id(id)).unwrap()
    }

    fn log_in(&self, name: &str) -> String {
        let session = Session {
            digest: NewSession::generate().unwrap().digest,
            user: self.user(name).id,
            created: Time(1_800_000_000),
            last_seen: Time(1_800_000_000),
            expires: Time(4_000_000_000),
        };
        self.ask(|store| store.add_session(session.clone()));
        hex(&session.digest)
    }
}

fn run(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(words)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever wants no input does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn users_are_added_and_listed() {
    let place = Place::new();
    place.says_with(
        "user add ada --email ada@x.org --scope read --scope write --group staff --password-stdin",
        "pw one\r\n",
    );
    place.says("user add robot --no-password");
    let list = place.says("user list");
    let lines: Vec<&str> = list.lines().collect();
    assert!(
        lines[0].starts_with("NAME   STATE   PASSWORD  EMAIL      SCOPES      GROUPS  CREATED"),
        "{list}"
    );
    assert!(lines[1].starts_with("ada    active  yes       ada@x.org  read write  staff   20"), "{list}");
    assert!(lines[2].starts_with("robot  active  no        -          -           -       20"), "{list}");
    let ada = place.user("ada");
    let kept = ada.password.unwrap();
    assert!(auth::password::matches(kept.as_bytes(), b"pw one"), "the line's end is no part of it");
    assert!(!list.contains(&kept) && !place.says("user list --json").contains(&kept));

    let objects = place.shows("user list");
    assert_eq!(objects[0]["name"], "ada");
    assert_eq!(objects[0]["scopes"], serde_json::json!(["read", "write"]));
    assert_eq!(objects[1]["password"], false);
    assert_eq!(objects[1]["email"], Value::Null);

    assert_eq!(
        place.refuses("user add ada --no-password"),
        "doorward: there is a user of this name already\n"
    );
    assert_eq!(place.refuses("user disable nobody"), "doorward: there is no user \"nobody\"\n");
}

#[test]
fn what_is_given_is_changed_and_nothing_else() {
    let place = Place::new();
    place.says_with("user add ada --email ada@x.org --scope read --group staff --password-stdin", "one\n");
    let before = place.user("ada");
    let shown = place.shows("user change ada --scope write --scope all").remove(0);
    assert_eq!(shown["scopes"], serde_json::json!(["write", "all"]));
    let after = place.user("ada");
    assert_eq!(after.scopes, ["write", "all"]);
    assert!((after.email, after.groups, after.password) == (before.email, before.groups, before.password));
    // Nothing between the two spaces: none.
    place.says("user change ada --scope  --group  --email ");
    let bare = place.user("ada");
    assert!((bare.email, bare.scopes, bare.groups) == (None, vec![], vec![]));
    assert_eq!(place.refuses("user change nobody"), "doorward: there is no user \"nobody\"\n");
}

#[test]
fn a_new_password_and_a_disabled_user_end_all_sessions() {
    let place = Place::new();
    place.says_with("user add ada --password-stdin", "one\n");
    let first = place.log_in("ada");
    assert_eq!(place.shows("session list")[0]["id"], *first);
    place.says_with("user passwd ada --password-stdin", "two");
    let kept = place.user("ada").password.unwrap();
    assert!(
        auth::password::matches(kept.as_bytes(), b"two") && !auth::password::matches(kept.as_bytes(), b"one")
    );
    assert!(place.shows("session list").is_empty());

    place.log_in("ada");
    assert_eq!(place.shows("user disable ada")[0]["disabled"], true);
    assert!(place.user("ada").disabled);
    assert_eq!(place.shows("user enable ada")[0]["disabled"], false);
    assert!(!place.user("ada").disabled);
    assert!(place.shows("session list").is_empty());
    // An empty password is none.
    let refused = place.run_with("user passwd ada --password-stdin", "\n");
    assert_eq!(stderr(&refused), "doorward: a password has 1 to 511 bytes\n");
    assert_eq!(place.user("ada").password.unwrap(), kept);
}

#[test]
fn a_password_never_comes_from_the_command_line_and_is_not_shown() {
    let place = Place::new();
    for words in ["user add ada --password secret", "user add ada --password=secret"] {
        let refused = place.refuses(words);
        assert!(refused.contains("--password-stdin") && !refused.contains("secret"), "{refused}");
    }
    // Away from any terminal there is nobody to ask.
    let alone = Command::new("setsid")
        .args(["--wait", env!("CARGO_BIN_EXE_doorward"), "user", "add", "ada", "--store", &place.address()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        stderr(&alone),
        "doorward: there is no terminal to ask for the password: give it by --password-stdin\n"
    );

    // A terminal of its own, in which everything that it shows is seen.
    let ask = |answers: [&str; 2]| {
        let words = format!("{} user add ada --store {}", env!("CARGO_BIN_EXE_doorward"), place.address());
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", &words, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut keys, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let mut seen = String::new();
        for (question, answer) in ["Password: ", "The same again: "].iter().zip(answers) {
            while !seen.ends_with(question) {
                let mut byte = [0];
                assert_eq!(screen.read(&mut byte).unwrap(), 1, "{seen}");
                seen.push(char::from(byte[0]));
            }
            writeln!(keys, "{answer}").unwrap();
        }
        screen.read_to_string(&mut seen).unwrap();
        (script.wait().unwrap().success(), seen)
    };
    let (done, seen) = ask(["a secret", "another"]);
    assert!(!done && seen.contains("the two passwords differ"), "{seen}");
    let (done, seen) = ask(["a secret", "a secret"]);
    assert!(done && !seen.contains("secret"), "{seen}");
    assert!(auth::password::matches(place.user("ada").password.unwrap().as_bytes(), b"a secret"));
}

#[test]
fn a_key_is_shown_once_and_found_by_its_id() {
    let place = Place::new();
    place.says("user add ada --no-password --scope read --scope write");
    let created = place.run_with("key create ada --label nightly --expires 90d", "");
    let text = String::from_utf8(created.stdout.clone()).unwrap();
    let text = text.strip_suffix('\n').unwrap();
    assert!(!stderr(&created).contains(text));
    let presented = Presented::parse(text.as_bytes()).unwrap();
    let key = place.key(presented.id);
    assert!(presented.matches(&key.digest));
    assert_eq!(key.scopes, ["read", "write"]);
    assert_eq!(key.expires.unwrap().0 - key.created.0, 90 * 86400);

    let narrow = &place.shows("key create ada --scope read")[0];
    assert_eq!(narrow["scopes"], serde_json::json!(["read"]));
    assert_eq!(narrow["expires"], Value::Null);
    let narrow_text = narrow["key"].as_str().unwrap();
    assert_eq!(Presented::parse(narrow_text.as_bytes()).unwrap().id, narrow["id"].as_str().unwrap());

    let refused = place.refuses("key create ada --scope read --scope admin");
    assert_eq!(
        refused,
        "doorward: user \"ada\" has no scope \"admin\", and a key may not do more than its user\n"
    );

    place.says("user add robot --no-password");
    place.says("key create robot");
    assert_eq!(place.shows("key list").len(), 3);
    let hers = place.says("key list ada");
    assert_eq!(hers.lines().count(), 3);
    for secret in [text, narrow_text] {
        assert!(!hers.contains(&secret[16..]), "{hers}");
    }
    let files: Vec<u8> = fs::read_dir(place.path())
        .unwrap()
        .flat_map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(!files.windows(43).any(|piece| piece == &text.as_bytes()[16..]), "the secret is kept");
}

#[test]
fn keys_are_revoked_and_rotated() {
    let place = Place::new();
    place.says("user add ada --no-password --scope read");
    let old = place.shows("key create ada --label nightly --expires 30d --scope read").remove(0);
    let id = old["id"].as_str().unwrap();
    let new = place.shows(&format!("key rotate {id} --overlap 1h")).remove(0);
    assert_eq!((&new["label"], &new["user"], &new["scopes"]), (&old["label"], &old["user"], &old["scopes"]));
    let (old_key, new_key) = (place.key(id), place.key(new["id"].as_str().unwrap()));
    assert_ne!(old_key.digest, new_key.digest);
    assert_eq!(old_key.expires.unwrap().0 - new_key.created.0, 3600);
    assert_eq!(new_key.expires.unwrap().0 - new_key.created.0, 30 * 86400);
    assert!(!old_key.revoked);

    let at_once = place.shows(&format!("key rotate {} --overlap 0", new_key.id)).remove(0);
    let states: Vec<_> =
        place.shows("key list").into_iter().map(|key| (key["id"].clone(), key["state"].clone())).collect();
    assert!(states.contains(&(new_key.id.clone().into(), "expired".into())), "{states:?}");
    let last = at_once["id"].as_str().unwrap();
    assert_eq!(place.shows(&format!("key revoke {last}"))[0]["state"], "revoked");
    assert!(place.key(last).revoked);
    assert_eq!(place.refuses(&format!("key rotate {last}")), "doorward: the key is revoked\n");
    assert_eq!(place.refuses("key revoke nothing"), "doorward: there is no key \"nothing\"\n");
    // The whole key says more than the id, to everyone.
    let whole = old["key"].as_str().unwrap();
    let refused = place.refuses(&format!("key revoke {whole}"));
    assert!(refused.contains("between dw_") && !refused.contains(whole), "{refused}");
}

#[test]
fn sessions_are_ended_one_by_one_and_all_of_a_user() {
    let place = Place::new();
    for name in ["ada", "grace"] {
        place.says(&format!("user add {name} --no-password"));
    }
    let [one, _, _] = [place.log_in("ada"), place.log_in("ada"), place.log_in("ada")];
    let hers = place.log_in("grace");
    assert_eq!(place.shows("session list").len(), 4);
    assert_eq!(place.shows("session list grace")[0]["id"], *hers);
    assert_eq!(place.says(&format!("session revoke {one}")), "1 ended\n");
    assert_eq!(
        place.refuses(&format!("session revoke {one}")),
        format!("doorward: there is no session \"{one}\"\n")
    );
    assert_eq!(place.shows("session revoke --user ada")[0]["ended"], 2);
    let left = place.says("session list");
    assert!(
        left.starts_with("ID ")
            && left.lines().nth(1).unwrap().starts_with(&format!("{hers}  grace  2027-01-15T08:00:00+00:00")),
        "{left}"
    );
    assert!(place.refuses("session revoke").contains("either ID or --user USER"));
    assert!(place.refuses("session revoke 12").contains("64 digits"));
}

#[test]
fn the_configuration_says_where_the_store_is() {
    let place = Place::new();
    let configuration = place.path().join("nginx.conf");
    let prefix = place.path().to_str().unwrap();
    let with = |text: &str, words: &[&str]| {
        fs::write(&configuration, text).unwrap();
        run(&[&["-p", prefix, "-c", "nginx.conf"], words].concat(), "")
    };
    let service = "http { auth_service one { auth_store sqlite:store.db grace=10m; } }";
    let added = with(service, &["user", "add", "ada", "--no-password"]);
    assert!(added.status.success(), "{}", stderr(&added));
    assert_eq!(place.user("ada").name, "ada");
    let path = configuration.to_str().unwrap();
    let listed = run(&["user", "list", "-p", "x"], "");
    assert_eq!(stderr(&listed), "doorward: invalid option: \"-p\"\n");
    let listed = run(&["-p", prefix, "user", "list", "-c", path], "");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("ada"), "{}", stderr(&listed));

    // A service that names none has it in the prefix; one that needs none has none.
    fs::create_dir(place.path().join("auth_store")).unwrap();
    let unnamed = "http { auth_service a { auth_api_key; } auth_service b { auth_jwt_key_file keys; } }";
    let added = with(unnamed, &["user", "add", "bob", "--no-password"]);
    assert!(added.status.success(), "{}", stderr(&added));
    assert!(place.path().join("auth_store/auth.db").is_file());

    let none = with("http { }", &["user", "list"]);
    assert!(
        stderr(&none).ends_with("nginx.conf has no auth_store: say where the store is by --store\n"),
        "{}",
        stderr(&none)
    );
    let two = "http { auth_service a { auth_store sqlite:a; } auth_service b { auth_store sqlite:b; } }";
    assert!(stderr(&with(two, &["user", "list"])).contains("has several auth_store"));
    let bad = with("http { auth_service a { auth_store mysql://u:secret@h/d; } }", &["user", "list"]);
    assert!(stderr(&bad).contains("auth_store in") && !stderr(&bad).contains("secret"), "{}", stderr(&bad));
    let seen = run(&["user", "list", "--store", "postgres://ada:secret@127.0.0.1:1/x"], "");
    assert!(
        stderr(&seen).contains("name that by -c") && !stderr(&seen).contains("secret"),
        "{}",
        stderr(&seen)
    );
    let nobody =
        with("http { auth_service a { auth_store postgres://u:secret@127.0.0.1:1/d; } }", &["user", "list"]);
    assert!(
        stderr(&nobody).starts_with("doorward: the store is unavailable: ")
            && !stderr(&nobody).contains("secret")
    );
    let missing = run(&["-c", "/no/such.conf", "user", "list"], "");
    assert!(stderr(&missing).contains("/no/such.conf"), "{}", stderr(&missing));
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn a_path_that_is_mistyped_makes_no_store() {
    let place = Place::new();
    for words in ["user list", "user disable ada", "key list", "key revoke x", "session list"] {
        let refused = place.refuses(words);
        assert!(refused.ends_with("/store.db: \"user add\" makes one\n"), "{refused}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_understood_is_said() {
    let place = Place::new();
    for (words, said) in [
        ("user frobnicate", "\"user\" is followed by one of: add, change, list, passwd, disable, enable"),
        ("user add", "\"user add\" wants NAME"),
        ("user add a b", "too many words behind \"user add\""),
        ("user list --scope x", "\"user list\" has no option \"--scope\""),
        ("user add a --frobnicate", "invalid option: \"--frobnicate\""),
        ("user add a -x", "invalid option: \"-x\""),
        ("key create a --expires soon", "\"--expires\" wants a time as 30d, 12h or 1d12h"),
        ("user add a --no-password --password-stdin", "either --no-password or --password-stdin"),
        (
            "user add a --no-password --group a,b",
            "a group is no text of 1 to 128 bytes without commas and control characters",
        ),
    ] {
        assert_eq!(place.refuses(words), format!("doorward: {said}\n"), "{words}");
    }
    for words in [&["user"][..], &["user", "--help"], &["user", "add", "-h"]] {
        let help = run(words, "");
        assert!(help.status.success() && help.stdout.starts_with(b"Usage: doorward user add"), "{words:?}");
    }
    assert!(run(&["key", "--help"], "").stdout.starts_with(b"Usage: doorward key create"));
    assert!(run(&["session", "--help"], "").stdout.starts_with(b"Usage: doorward session list"));
}
