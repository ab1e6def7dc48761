//! `ngx_http_rewrite_module`: `set`, `if`, `rewrite`, `return`, `break`, in the order written.

mod condition;
mod directives;
mod run;

pub use condition::Condition;
pub use directives::{Line, RewriteSettings, variable_name};
pub use run::run;

use conf::Diagnostic;

use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::module::{Module, Scope};
use crate::plan::Plan;
use crate::regex::Pattern;
use crate::variables::{Index, Template};

/// The module's tables.
pub static MODULE: Module =
    Module { name: "ngx_http_rewrite_module", directives: directives::DIRECTIVES, variables: &[], plan };

/// The rules of a server or location.
#[derive(Default)]
pub struct Program {
    /// In the order written.
    pub steps: Vec<Step>,
    /// `rewrite_log`.
    pub log: bool,
    /// `uninitialized_variable_warn`, here and for everything else that reads variables in the location.
    pub warn: bool,
}

/// One rule.
pub enum Step {
    /// `set`.
    Set {
        /// The variable.
        index: Index,
        /// How it is written, where it is a module's own.
        write: Option<fn(&mut Exchange<'_>, &[u8])>,
        /// Its new value.
        value: Template,
    },
    /// `break`.
    Break,
    /// `return`.
    Return {
        /// The status.
        status: u16,
        /// The text, or the address of a redirect.
        text: Option<Template>,
    },
    /// `rewrite`.
    Rewrite(Rewrite),
    /// `if`.
    If {
        /// When its rules apply.
        condition: Condition,
        /// Its rules.
        program: Program,
        /// In a location, the settings that its block puts in force.
        plan: Option<Box<Plan>>,
    },
}

/// `rewrite`.
pub struct Rewrite {
    /// What the path must match.
    pub pattern: Pattern,
    /// The new path, or address.
    pub replacement: Template,
    /// Whether the old query is appended.
    pub keep_args: bool,
    /// What happens next.
    pub then: Then,
}

/// What a `rewrite` that matched leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next rule.
    Continue,
    /// The search for a location (`last`).
    Last,
    /// The rest of the location's work (`break`).
    Break,
    /// A redirect.
    Redirect(u16),
}

fn plan(cx: &mut Compiler, scope: &mut Scope, plan: &mut Plan) -> Result<(), Diagnostic> {
    plan.rewrite = program(cx, scope)?;
    Ok(())
}

/// Makes the rules of a block, the plans of its `if`s included where they stand in a location.
fn program(cx: &mut Compiler, scope: &mut Scope) -> Result<Program, Diagnostic> {
    let settings = scope.get_mut::<RewriteSettings>();
    let lines = std::mem::take(&mut settings.lines);
    let (log, warn) = (settings.log.unwrap_or(false), settings.warn.unwrap_or(true));
    let mut steps = Vec::with_capacity(lines.len());
    for line in lines {
        steps.push(match line {
            Line::Step(step) => step,
            Line::If { condition, mut inner, in_location: true } => {
                inner.inherit_inside(scope);
                let program = program(cx, &mut inner)?;
                let plan = cx.plan_of(&mut inner)?;
                Step::If { condition, program, plan: Some(Box::new(plan)) }
            }
            Line::If { condition, mut inner, in_location: false } => {
                let program = program(cx, &mut inner)?;
                Step::If { condition, program, plan: None }
            }
        });
    }
    Ok(Program { steps, log, warn })
}
