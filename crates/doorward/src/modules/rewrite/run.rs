//! Runs the rules on a request.

use super::{Program, Rewrite, Step, Then};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::static_files::set_type_of_path;
use crate::plan::{Content, Plan};
use crate::run::Stop;
use crate::variables::Template;

/// Runs the rules of a server or location.
pub fn run<'c>(ex: &mut Exchange<'c>, program: &'c Program) -> Result<(), Stop> {
    if program.steps.is_empty() {
        return Ok(());
    }
    let mut rules = Rules::default();
    let _end = steps(ex, program, &mut rules)?;
    if rules.changed {
        return Err(Stop::Relocate);
    }
    if rules.overruled {
        ex.log(
            Level::Error,
            format_args!(
                "the last \"if\" that holds does not say where to pass the request, which an earlier one does"
            ),
        );
        return Err(Stop::Status(500));
    }
    Ok(())
}

/// What the rules have come to so far.
#[derive(Default)]
struct Rules {
    /// The path is another one.
    changed: bool,
    /// An `if` passes the request on, and a later one took its place that does not.
    overruled: bool,
}

/// What comes after a rule.
enum Next {
    Rule,
    End,
}

fn steps<'c>(ex: &mut Exchange<'c>, program: &'c Program, rules: &mut Rules) -> Result<Next, Stop> {
    for step in &program.steps {
        match step {
            Step::Set { index, write, value } => {
                let value = value.eval(ex);
                match write {
                    Some(write) => write(ex, &value),
                    None => ex.store(*index, &value),
                }
            }
            Step::Break => {
                if std::mem::take(&mut rules.changed) {
                    ex.valid_location = false;
                }
                return Ok(Next::End);
            }
            Step::Return { status, text } => return Err(answer(ex, *status, text.as_ref())),
            Step::Rewrite(rewrite) => match apply(ex, rewrite, program.log, &mut rules.changed)? {
                Next::Rule => {}
                Next::End => return Ok(Next::End),
            },
            Step::If { condition, program, plan } => {
                let holds = condition.holds(ex);
                if program.log {
                    let text = if holds { "matches" } else { "does not match" };
                    ex.log(Level::Notice, format_args!("condition {text}"));
                }
                if holds {
                    if let Some(plan) = plan {
                        rules.overruled = (rules.overruled || passes_on(ex.plan))
                            && matches!(plan.content, Content::Files(_));
                        ex.plan = plan;
                    }
                    if matches!(steps(ex, program, rules)?, Next::End) {
                        return Ok(Next::End);
                    }
                }
            }
        }
    }
    Ok(Next::Rule)
}

fn passes_on(plan: &Plan) -> bool {
    matches!(plan.content, Content::Proxy(_) | Content::FastCgi(_))
}

fn apply(ex: &mut Exchange<'_>, rewrite: &Rewrite, log: bool, changed: &mut bool) -> Result<Next, Stop> {
    if !rewrite.pattern.matches(ex, None) {
        if log {
            let uri = String::from_utf8_lossy(&ex.uri).into_owned();
            ex.log(Level::Notice, format_args!("\"{uri}\" does not match the rule"));
        }
        return Ok(Next::Rule);
    }
    if let Then::Redirect(status) = rewrite.then {
        let target = redirect_target(ex, rewrite);
        ex.response.fields.set("Location", &target);
        return Err(Stop::Status(status));
    }
    let mut target = Vec::new();
    let query = rewrite.replacement.append_replacement(ex, false, &mut target);
    let old_args = std::mem::take(&mut ex.args);
    if let Some(query) = query {
        // Only a `?` that is written in the rule starts the query, not one that a client's path brought.
        ex.args = target.split_off(query);
        target.pop();
        ex.uri = target;
        if rewrite.keep_args && !old_args.is_empty() {
            if !ex.args.is_empty() {
                ex.args.push(b'&');
            }
            ex.args.extend_from_slice(&old_args);
        }
    } else {
        ex.uri = target;
        if rewrite.keep_args {
            ex.args = old_args;
        }
    }
    ex.as_sent = false;
    ex.internal = true;
    if log {
        let (uri, args) =
            (String::from_utf8_lossy(&ex.uri).into_owned(), String::from_utf8_lossy(&ex.args).into_owned());
        ex.log(Level::Notice, format_args!("rewritten data: \"{uri}\", args: \"{args}\""));
    }
    if ex.uri.is_empty() {
        ex.log(Level::Error, format_args!("the rewritten URI has a zero length"));
        return Err(Stop::Status(500));
    }
    match rewrite.then {
        Then::Break => {
            *changed = false;
            ex.valid_location = false;
            Ok(Next::End)
        }
        Then::Last => {
            *changed = true;
            Ok(Next::End)
        }
        _ => {
            *changed = true;
            Ok(Next::Rule)
        }
    }
}

/// The address of a redirect: what captures bring in is escaped anew, since the path was unescaped before.
fn redirect_target(ex: &Exchange<'_>, rewrite: &Rewrite) -> Vec<u8> {
    let mut quoted = Vec::new();
    rewrite.replacement.append_replacement(ex, true, &mut quoted);
    let mut target = Vec::new();
    wire::uri::unescape_redirect(&quoted, &mut target);
    if rewrite.keep_args && !ex.args.is_empty() {
        target.push(if target.contains(&b'?') { b'&' } else { b'?' });
        target.extend_from_slice(&ex.args);
    }
    target
}

fn answer(ex: &mut Exchange<'_>, status: u16, text: Option<&Template>) -> Stop {
    // Without a text, an error has a page.
    if text.is_none() && status >= 400 {
        return Stop::Status(status);
    }
    ex.response.status = status;
    let value = text.map(|text| text.eval(ex)).unwrap_or_default();
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        ex.response.fields.set("Location", &value);
        return Stop::Status(status);
    }
    ex.response.content_length = Some(value.len() as u64);
    set_type_of_path(ex);
    Stop::Done(if value.is_empty() { Body::Empty } else { Body::Bytes(value) })
}
