//! The command line: nginx's flags.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use super::admin;
use super::say::say;
use crate::product;

/// What the command line asks for.
pub struct Flags {
    /// What to do.
    pub action: Action,
    /// `-c`.
    pub configuration: Option<PathBuf>,
    /// `-p`.
    pub prefix: Option<PathBuf>,
    /// `-e`.
    pub error_log: Option<PathBuf>,
    /// `-g`.
    pub globals: Vec<u8>,
    /// `-q`.
    pub quiet: bool,
    /// `--strict`: what is warned about fails the test.
    pub strict: bool,
    /// `--explain`, `-H`, `--method`, `--from`, `--http2`, `--cert`: the request that is explained.
    pub request: Request,
    /// Whether root has started the program.
    pub as_root: bool,
}

/// A request that nobody sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `--explain`.
    pub url: Option<String>,
    /// `-H`, each as `Name: value`.
    pub fields: Vec<String>,
    /// `--method`, where it is not GET.
    pub method: Option<String>,
    /// `--from`: the client's address, where it is not 127.0.0.1.
    pub from: Option<String>,
    /// `--http2`.
    pub http2: bool,
    /// `--cert`: the file with the certificate that the client shows.
    pub certificate: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve.
    Serve,
    /// `-t`, `-T`.
    Test {
        /// Whether the configuration is printed.
        dump: bool,
    },
    /// `-s`.
    Signal(Order),
    /// `-h`.
    Help,
    /// `help DIRECTIVE`; `None` for all of them.
    Explain(Option<String>),
    /// `lint [FILE] [--json]`.
    Lint {
        /// The configuration, where it is not the one of `-c`.
        file: Option<PathBuf>,
        /// Whether each line of the output is JSON.
        json: bool,
    },
    /// `user`, `key`, `session`, and what follows.
    Administer {
        /// The first word.
        subject: String,
        /// Those behind it.
        words: Vec<OsString>,
    },
    /// `-v`.
    Version,
    /// `-V`.
    Configuration,
}

/// What `-s` tells a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End at once.
    Stop,
    /// End when every request is answered.
    Quit,
    /// Open the log files anew.
    Reopen,
    /// Read the configuration anew.
    Reload,
}

impl Flags {
    /// Reads the command line.
    pub fn read() -> Result<Flags, String> {
        Self::parse(lexopt::Parser::from_env()).map_err(|error| match error {
            lexopt::Error::UnexpectedOption(option) => {
                format!("invalid option: \"{}\"", option.trim_start_matches('-'))
            }
            lexopt::Error::UnexpectedArgument(word) => {
                format!("invalid option: \"{}\"", word.to_string_lossy())
            }
            lexopt::Error::MissingValue { option: Some(option) } => {
                let wants = match &*option {
                    "-p" => "directory name",
                    "-c" | "-e" => "file name",
                    _ => "parameter",
                };
                format!("option \"{option}\" requires {wants}")
            }
            error => error.to_string(),
        })
    }

    fn parse(mut parser: lexopt::Parser) -> Result<Flags, lexopt::Error> {
        let mut flags = Flags {
            action: Action::Serve,
            configuration: None,
            prefix: None,
            error_log: None,
            globals: Vec::new(),
            quiet: false,
            strict: false,
            request: Request::default(),
            as_root: net::process::is_root(),
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Short('c') => flags.configuration = Some(parser.value()?.into()),
                Short('p') => flags.prefix = Some(parser.value()?.into()),
                Short('e') => flags.error_log = Some(parser.value()?.into()),
                Short('g') => flags.globals = bytes(parser.value()?),
                Short('q') => flags.quiet = true,
                Long("strict") => flags.strict = true,
                Long("explain") => flags.request.url = Some(text(&parser.value()?)),
                Short('H') => flags.request.fields.push(text(&parser.value()?)),
                Long("method") => flags.request.method = Some(text(&parser.value()?)),
                Long("from") => flags.request.from = Some(text(&parser.value()?)),
                Long("http2") => flags.request.http2 = true,
                Long("cert") => flags.request.certificate = Some(text(&parser.value()?)),
                Short('t') if !matches!(flags.action, Action::Test { dump: true }) => {
                    flags.action = Action::Test { dump: false };
                }
                Short('t') => {}
                Short('T') => flags.action = Action::Test { dump: true },
                Short('s') => {
                    let order = parser.value()?;
                    flags.action = Action::Signal(match order.to_str() {
                        Some("stop") => Order::Stop,
                        Some("quit") => Order::Quit,
                        Some("reopen") => Order::Reopen,
                        Some("reload") => Order::Reload,
                        _ => return Err(format!("invalid option: \"-s {}\"", order.to_string_lossy()).into()),
                    });
                }
                Short('v') => flags.action = Action::Version,
                Short('V') => flags.action = Action::Configuration,
                Short('h' | '?') | Long("help") => flags.action = Action::Help,
                Long("version") => flags.action = Action::Version,
                Value(word) if word == "help" => {
                    let name = match parser.next()? {
                        Some(Value(name)) => Some(name.to_string_lossy().into_owned()),
                        Some(Long("all")) => None,
                        _ => return Err("which directive? `help NAME`, or `help --all`".into()),
                    };
                    flags.action = Action::Explain(name);
                }
                Value(word) if word == "lint" => flags.action = lint(&mut parser)?,
                Value(word) if admin::SUBJECTS.iter().any(|subject| word == *subject) => {
                    flags.action =
                        Action::Administer { subject: text(&word), words: parser.raw_args()?.collect() };
                }
                other => return Err(other.unexpected()),
            }
        }
        if flags.strict && !matches!(flags.action, Action::Test { .. }) {
            return Err("option \"--strict\" requires -t or -T".into());
        }
        Ok(flags)
    }

    /// The folder that relative paths start from.
    pub fn prefix(&self) -> PathBuf {
        let prefix = self.prefix.clone().unwrap_or_else(|| PathBuf::from(product::PREFIX));
        std::path::absolute(&prefix).unwrap_or(prefix)
    }

    /// The configuration file.
    pub fn configuration(&self) -> PathBuf {
        let name = match (&self.configuration, &self.prefix) {
            (Some(path), _) => path.clone(),
            (None, Some(_)) => PathBuf::from("conf/nginx.conf"),
            (None, None) => PathBuf::from("nginx.conf"),
        };
        self.prefix().join(name)
    }

    /// Where errors are logged until the configuration says otherwise.
    pub fn error_log(&self) -> PathBuf {
        match &self.error_log {
            Some(path) if path.as_os_str() == "stderr" => path.clone(),
            Some(path) => self.prefix().join(path),
            None if self.prefix.is_none() => product::ERROR_LOG.packaged.into(),
            None => self.prefix().join(product::ERROR_LOG.under_prefix),
        }
    }
}

fn lint(parser: &mut lexopt::Parser) -> Result<Action, lexopt::Error> {
    let (mut file, mut json) = (None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = true,
            Value(path) if file.is_none() => file = Some(path.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Action::Lint { file, json })
}

fn text(word: &OsString) -> String {
    word.to_string_lossy().into_owned()
}

fn bytes(text: OsString) -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt;
    text.into_vec()
}

/// `-h`.
pub fn print_help() {
    say!(
        "doorward version: {}\n\
         Usage: doorward [-?hvVtTq] [-s signal] [-p prefix] [-e filename] [-c filename] [-g directives]\n\n\
         Options:\n\
         \x20 -?,-h         : this help\n\
         \x20 -v            : show version and exit\n\
         \x20 -V            : show version and configure options then exit\n\
         \x20 -t            : test configuration and exit\n\
         \x20 -T            : test configuration, dump it and exit\n\
         \x20 --strict      : with -t or -T: fail when there are warnings\n\
         \x20 --explain URL : with -t: what would become of a request, and where that is written;\n\
         \x20                 with -H 'Name: value', --method METHOD, --from ADDRESS, --http2, --cert FILE\n\
         \x20 -q            : suppress non-error messages during configuration testing\n\
         \x20 -s signal     : send signal to a master process: stop, quit, reopen, reload\n\
         \x20 -p prefix     : set prefix path (default: {}/)\n\
         \x20 -e filename   : set error log file (default: {}; with -p: {})\n\
         \x20 -c filename   : set configuration file (default: nginx.conf; with -p: conf/nginx.conf)\n\
         \x20 -g directives : set global directives out of configuration file\n\n\
         doorward help DIRECTIVE explains a directive; doorward help --all explains them all\n\
         doorward lint [FILE] [--json] says all there is to say about a configuration, also one of another machine\n\
         doorward user, doorward key, doorward session: users, API keys and sessions of an auth service (each with --help)",
        product::VERSION,
        product::PREFIX,
        product::ERROR_LOG.packaged,
        product::ERROR_LOG.under_prefix,
    );
}

/// `-v`.
pub fn print_version() {
    say!(
        "doorward version: {}\ncompatible with nginx version: nginx/{}",
        product::VERSION,
        product::NGINX_VERSION
    );
}

/// `-V`: what tools of nginx's ecosystem read, said as what it is: compatible with.
pub fn print_build() {
    say!(
        "doorward version: {}\n\
         compatible with:\n\
         nginx version: nginx/{}\n\
         built with OpenSSL 3.0.0 (compatible with; TLS is done by rustls)\n\
         TLS SNI support enabled\n\
         configure arguments: --prefix={prefix} --conf-path={prefix}/nginx.conf --error-log-path={} \
         --http-log-path={} --pid-path={} --http-client-body-temp-path={} {}",
        product::VERSION,
        product::NGINX_VERSION,
        product::ERROR_LOG.packaged,
        product::ACCESS_LOG.packaged,
        product::PID.packaged,
        product::CLIENT_BODY_TEMP.packaged,
        product::MODULES.join(" "),
        prefix = product::PREFIX,
    );
}
