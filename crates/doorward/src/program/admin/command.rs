//! The words of administration: what may be said, and what it says.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use super::{Desk, keys, sessions, users};

/// What to do.
pub enum Command {
    /// Say what can be done.
    Help(&'static str),
    /// Do it.
    Do(&'static Verb, Box<Given>),
}

/// Something that can be done.
pub struct Verb {
    subject: &'static str,
    name: &'static str,
    /// What has to follow, and what may follow.
    wants: (&'static [&'static str], &'static [&'static str]),
    /// Options, those apart that all have.
    options: &'static [&'static str],
    /// Does it.
    pub run: fn(&Desk, &Given) -> Result<(), String>,
}

impl Verb {
    /// Whether it may be the first that is done.
    pub fn begins(&self) -> bool {
        (self.subject, self.name) == ("user", "add")
    }
}

/// Everything that can be done.
const VERBS: &[Verb] = &[
    Verb {
        subject: "user",
        name: "add",
        wants: (&["NAME"], &[]),
        options: &["email", "scope", "group", "password-stdin", "no-password"],
        run: users::add,
    },
    Verb {
        subject: "user",
        name: "change",
        wants: (&["NAME"], &[]),
        options: &["email", "scope", "group"],
        run: users::change,
    },
    Verb { subject: "user", name: "list", wants: (&[], &[]), options: &[], run: users::list },
    Verb {
        subject: "user",
        name: "passwd",
        wants: (&["NAME"], &[]),
        options: &["password-stdin"],
        run: users::passwd,
    },
    Verb { subject: "user", name: "disable", wants: (&["NAME"], &[]), options: &[], run: users::disable },
    Verb { subject: "user", name: "enable", wants: (&["NAME"], &[]), options: &[], run: users::enable },
    Verb {
        subject: "key",
        name: "create",
        wants: (&["USER"], &[]),
        options: &["label", "scope", "expires"],
        run: keys::create,
    },
    Verb { subject: "key", name: "list", wants: (&[], &["USER"]), options: &[], run: keys::list },
    Verb { subject: "key", name: "revoke", wants: (&["ID"], &[]), options: &[], run: keys::revoke },
    Verb {
        subject: "key",
        name: "rotate",
        wants: (&["ID"], &[]),
        options: &["overlap", "expires"],
        run: keys::rotate,
    },
    Verb { subject: "session", name: "list", wants: (&[], &["USER"]), options: &[], run: sessions::list },
    Verb {
        subject: "session",
        name: "revoke",
        wants: (&[], &["ID"]),
        options: &["user"],
        run: sessions::revoke,
    },
];

/// What was said with it.
#[derive(Default)]
pub struct Given {
    /// The words that are no options.
    pub words: Vec<String>,
    /// `--store`.
    pub store: Option<String>,
    /// `-c`, also before the subject.
    pub configuration: Option<PathBuf>,
    /// `--json`.
    pub json: bool,
    /// `--email`.
    pub email: Option<String>,
    /// `--scope`, all of them.
    pub scopes: Option<Vec<String>>,
    /// `--group`, all of them.
    pub groups: Option<Vec<String>>,
    /// `--label`.
    pub label: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--expires`: seconds.
    pub expires: Option<u64>,
    /// `--overlap`: seconds.
    pub overlap: Option<u64>,
    /// `--password-stdin`.
    pub password_stdin: bool,
    /// `--no-password`.
    pub no_password: bool,
}

/// Reads the words behind a subject.
pub fn read(subject: &str, words: Vec<OsString>) -> Result<Command, String> {
    let help = help(subject);
    let mut parser = lexopt::Parser::from_args(words);
    let (mut given, mut named) = (Box::<Given>::default(), Vec::new());
    while let Some(word) = parser.next().map_err(|error| error.to_string())? {
        match word {
            Short('h') | Long("help") => return Ok(Command::Help(help)),
            Value(word) => given.words.push(text(word)?),
            Short('c') => given.configuration = Some(value(&mut parser)?.into()),
            Long("store") => given.store = Some(value(&mut parser)?),
            Long("json") => given.json = true,
            Long(option) => {
                let option = option.to_owned();
                option_of(&mut given, &option, &mut parser)?;
                named.push(option);
            }
            Short(letter) => return Err(format!("invalid option: \"-{letter}\"")),
        }
    }
    if given.words.is_empty() {
        return Ok(Command::Help(help));
    }
    let name = given.words.remove(0);
    let of_subject = || VERBS.iter().filter(|verb| verb.subject == subject);
    let Some(verb) = of_subject().find(|verb| verb.name == name) else {
        let known: Vec<&str> = of_subject().map(|verb| verb.name).collect();
        return Err(format!("\"{subject}\" is followed by one of: {}", known.join(", ")));
    };
    if let Some(odd) = named.iter().find(|option| !verb.options.contains(&option.as_str())) {
        return Err(format!("\"{subject} {name}\" has no option \"--{odd}\""));
    }
    let (least, more) = verb.wants;
    if let Some(missing) = least.get(given.words.len()) {
        return Err(format!("\"{subject} {name}\" wants {missing}"));
    }
    if given.words.len() > least.len() + more.len() {
        return Err(format!("too many words behind \"{subject} {name}\""));
    }
    Ok(Command::Do(verb, given))
}

fn option_of(given: &mut Given, option: &str, parser: &mut lexopt::Parser) -> Result<(), String> {
    match option {
        "email" => given.email = Some(value(parser)?),
        "scope" => {
            let said = value(parser)?;
            given.scopes.get_or_insert_default().extend(said.split_whitespace().map(str::to_owned));
        }
        "group" => {
            let said = Some(value(parser)?).filter(|group| !group.is_empty());
            given.groups.get_or_insert_default().extend(said);
        }
        "label" => given.label = Some(value(parser)?),
        "user" => given.user = Some(value(parser)?),
        "expires" => given.expires = Some(seconds(option, parser)?),
        "overlap" => given.overlap = Some(seconds(option, parser)?),
        "password-stdin" => given.password_stdin = true,
        "no-password" => given.no_password = true,
        "password" => {
            return Err(
                "a password on the command line can be seen by everyone on the machine: it is asked for, or \
                        read from the standard input (--password-stdin)"
                    .into(),
            );
        }
        _ => return Err(format!("invalid option: \"--{option}\"")),
    }
    Ok(())
}

fn value(parser: &mut lexopt::Parser) -> Result<String, String> {
    text(parser.value().map_err(|error| error.to_string())?)
}

fn seconds(option: &str, parser: &mut lexopt::Parser) -> Result<u64, String> {
    let said = value(parser)?;
    conf::value::sec(said.as_bytes())
        .ok_or_else(|| format!("\"--{option}\" wants a time as 30d, 12h or 1d12h"))
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|_| "the command line is not UTF-8".into())
}

fn help(subject: &str) -> &'static str {
    match subject {
        "user" => USER,
        "key" => KEY,
        _ => SESSION,
    }
}

const USER: &str = "\
Usage: doorward user add NAME [--email ADDRESS] [--scope SCOPE]... [--group GROUP]...
                     [--password-stdin | --no-password]
       doorward user change NAME [--email ADDRESS] [--scope SCOPE]... [--group GROUP]...
       doorward user list
       doorward user passwd NAME [--password-stdin]
       doorward user disable NAME
       doorward user enable NAME

Users of an auth service. A password is asked for twice, or is the first line of the standard input with
--password-stdin; --no-password adds a user who has none, as for API keys alone. A new password ends all
sessions of the user, and so does disabling, which also stops the user's API keys until it is undone.
change replaces what is given: all scopes by those of --scope, all groups by those of --group; '' is none.

Options of all:
  --store ADDRESS : where the service keeps them: sqlite:PATH, postgres://USER@HOST/DATABASE or redis://HOST
  -c FILE         : the configuration whose auth_store says that
  --json          : every record as an object on a line of its own
";

const KEY: &str = "\
Usage: doorward key create USER [--label TEXT] [--scope SCOPE]... [--expires TIME]
       doorward key list [USER]
       doorward key revoke ID
       doorward key rotate ID [--overlap TIME] [--expires TIME]

API keys of users. A new key is shown once, alone on the standard output, and is not kept anywhere. Without
--scope it has the scopes that its user has now, and never may it do more than its user; without --expires it does not expire. ID is the part of a
key between dw_ and the second underscore.

rotate makes a new key like the old one, with as long a life, and lets the old one expire after --overlap
(1d unless said; 0 ends it at once). TIME is as in 90d, 12h or 30m.

Options of all:
  --store ADDRESS : where the service keeps them: sqlite:PATH, postgres://USER@HOST/DATABASE or redis://HOST
  -c FILE         : the configuration whose auth_store says that
  --json          : every record as an object on a line of its own
";

const SESSION: &str = "\
Usage: doorward session list [USER]
       doorward session revoke ID
       doorward session revoke --user USER

Sessions of users who have logged in. ID is what list shows: a digest, with which nobody can log in.

Options of all:
  --store ADDRESS : where the service keeps them: sqlite:PATH, postgres://USER@HOST/DATABASE or redis://HOST
  -c FILE         : the configuration whose auth_store says that
  --json          : every record as an object on a line of its own
";
