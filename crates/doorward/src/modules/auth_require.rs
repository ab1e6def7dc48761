//! `ngx_http_auth_require_module`: requests pass only when values say so, which are known by the time of the access phase.

use std::fmt;
use std::sync::Arc;

use auth::identity::{Identity, Lack, Required};
use conf::Arg::{Many, Text};
use conf::{Diagnostic, Node};

use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::{Module, Settings};
use crate::modules::auth_outcome::{self, Reason};
use crate::plan::{Access, Verdict};
use crate::run::Stop;
use crate::variables::Template;

/// The module's tables. As in NGINX Plus 1.29.0, whose documentation is what there is of it.
pub static MODULE: Module = Module {
    name: "ngx_http_auth_require_module",
    directives: directives! { RequireSettings;
        /// Lets a request pass when no value is empty or `0`, and refuses it with 403 otherwise, or with the status of
        /// `error=`. It is asked after `auth_request`, and so it can decide by variables of `auth_request_set`, also
        /// through a `map`. Of several lines, which must all be met, the first that is not says the status. With
        /// `satisfy any` it is one of the methods that may let a request pass. A location that has lines of its own
        /// inherits none; `off` leaves it without. Doorward counts 401 and 403 as failures (`auth_limit`). Doorward's own are
        /// `scope=` and `group=`: whom `auth` or `auth_jwt` has found must have them all, and is told in `WWW-Authenticate` which
        /// scopes are required otherwise (RFC 6750).
        "auth_require" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Many(&Text("$value | scope=name | group=name | error=4xx | error=5xx | off")))
            = "off" => require;
    },
    variables: &[],
    plan: |_, scope, plan| {
        if let Some(lines) = &scope.get_mut::<RequireSettings>().lines
            && !lines.is_empty()
        {
            plan.access.push(Access::Require(Requirements { lines: lines.clone() }));
        }
        Ok(())
    },
};

#[derive(Clone, Default)]
struct RequireSettings {
    lines: Option<Arc<[Line]>>,
}

impl Settings for RequireSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.lines.is_none() {
            self.lines.clone_from(&outer.lines);
        }
    }
}

fn require(c: &mut RequireSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    if let [word] = &*node.args
        && *word.text == *b"off"
    {
        return conf::once(&mut c.lines, Arc::default(), node);
    }
    let line = line(node, cx, 403, refuses)?;
    let lines = c.lines.as_deref().unwrap_or_default();
    if lines.is_empty() && c.lines.is_some() {
        return Err(Diagnostic::at(
            node.name.span,
            "\"auth_require\" is \"off\" and required in one place".to_owned(),
        )
        .instead("leave one of the two out"));
    }
    c.lines = Some(lines.iter().cloned().chain([line]).collect());
    Ok(())
}

/// Reads values that are required, and `error=` with a status that `may_be` lets be.
pub fn line(
    node: &Node,
    cx: &mut Compiler,
    error: u16,
    may_be: impl Fn(u16) -> bool,
) -> Result<Line, Diagnostic> {
    let name = node.name.lossy();
    let mut line = Line { values: Box::default(), required: Required::default(), error };
    let mut values = Vec::new();
    for word in &node.args {
        if let Some(text) = word.text.strip_prefix(b"error=") {
            let status = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            line.error = status.filter(|status| may_be(*status)).ok_or_else(|| {
                let which = match error {
                    401 => "error=401 or error=403",
                    _ => "one from error=400 to error=599, but not 444 and 499",
                };
                Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()))
                    .instead(format!("the status of a refusal is {which}"))
            })?;
            continue;
        }
        if word.text.starts_with(b"scope=") || word.text.starts_with(b"group=") {
            if !str::from_utf8(&word.text).is_ok_and(|text| line.required.add(text)) {
                return Err(Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy())).instead(
                    "a scope is one word without quotation marks and backslashes (RFC 6749, 3.3), a group has no comma",
                ));
            }
            continue;
        }
        let value = Template::compile(word, &mut cx.variables)?;
        if value.variables().next().is_none() {
            return Err(Diagnostic::at(word.span, format!("\"{}\" says nothing of a request", word.lossy()))
                .instead("what is required is a variable, such as one of a map; or it is `off`, alone"));
        }
        values.push((value, word.lossy().into()));
    }
    if values.is_empty() && line.required.is_empty() {
        return Err(Diagnostic::at(node.name.span, format!("no value in \"{name}\" directive")).instead(
            format!("write the variables that must not be empty or 0: {name} $value ... [error=403];"),
        ));
    }
    line.values = values.into();
    Ok(line)
}

/// A status that refuses: those that close the connection without an answer are none.
fn refuses(status: u16) -> bool {
    matches!(status, 400..=599) && !matches!(status, 444 | 499)
}

/// One line of `auth_require` or `auth_jwt_require`.
#[derive(Clone)]
pub struct Line {
    /// Each value with its text in the configuration, for the error log.
    values: Box<[(Template, Box<str>)]>,
    /// What whoever asks must be allowed and belong to.
    required: Required,
    error: u16,
}

impl Line {
    /// The line, if it requires values alone: `auth_jwt_require` has no more.
    pub fn of_values(self, node: &Node) -> Result<Line, Diagnostic> {
        if self.required.is_empty() {
            return Ok(self);
        }
        let sentence = format!("\"{}\" requires values, and neither scopes nor groups", node.name.lossy());
        Err(Diagnostic::at(node.span, sentence).instead("write `auth_require scope=NAME;` beside it"))
    }
}

/// What a location requires of a request.
pub struct Requirements {
    lines: Arc<[Line]>,
}

impl Requirements {
    /// Whether all requirements are met.
    pub fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        let Err((status, unmet)) = first_unmet(&self.lines, ex) else { return Ok(Verdict::Allowed) };
        auth_outcome::set_reason(ex, Reason::Required);
        ex.log(Level::Error, format_args!("authentication refused: required, {unmet}"));
        if let Unmet::Lack(lack) = &unmet
            && matches!(status, 401 | 403)
        {
            challenge(ex, lack, status);
        }
        Err(Stop::Status(status))
    }
}

/// What is not met.
pub enum Unmet<'l> {
    /// The value with this text is empty or `0`.
    Value(&'l str),
    /// Whoever asks lacks this.
    Lack(Lack<'l>),
}

impl fmt::Display for Unmet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unmet::Value(text) => write!(f, "\"{text}\" is empty or 0"),
            Unmet::Lack(Lack::Scopes(scopes)) => {
                write!(f, "not all of scope \"{}\" is there", scopes.join(" "))
            }
            Unmet::Lack(Lack::Group(group)) => write!(f, "group \"{group}\" is not there"),
        }
    }
}

/// The status of the first line that is not met, and what is not.
pub fn first_unmet<'l>(lines: &'l [Line], ex: &Exchange<'_>) -> Result<(), (u16, Unmet<'l>)> {
    let mut value = Vec::new();
    for line in lines {
        for (template, text) in &line.values {
            value.clear();
            template.append(ex, &mut value);
            if value.is_empty() || value == b"0" {
                return Err((line.error, Unmet::Value(text)));
            }
        }
        let outcome = ex.visit.auth.borrow();
        let lack = match &outcome.identity {
            Some(identity) => line.required.lack_of(identity),
            None => line.required.lack_of(&Identity::default()),
        };
        if let Some(lack) = lack {
            return Err((line.error, Unmet::Lack(lack)));
        }
    }
    Ok(())
}

/// Tells the client what it lacks, as who found out who it is does that.
fn challenge(ex: &mut Exchange<'_>, lack: &Lack<'_>, status: u16) {
    for method in ex.plan.access.iter().rev() {
        match method {
            Access::Service(service) => return service.challenge(ex, lack),
            Access::Jwt(jwt) => return jwt.challenge(ex, lack, status),
            _ => {}
        }
    }
}
