//! Refuses paths that an auth service or an upstream could read as another path than the one a location was chosen for.

use conf::Arg::Flag;
use conf::once;
use wire::uri::{Escape, ambiguity, escape};

use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::Module;
use crate::modules::auth_outcome::{self, Reason};
use crate::settings;
use crate::variables::Row;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "doorward_ambiguous_path_module",
    directives: directives! { PathSettings;
        /// Answers 400 to paths that not everybody reads alike: with an encoded slash, backslash or dot (`%2f`, `%5c`,
        /// `%2e`, also encoded twice as `%252f`), a backslash, a dot segment (`/../`), or a parameter at one (`/..;/`).
        /// Locations are chosen by the path as nginx cleans it (`$normalized_uri`), while an auth service is mostly told
        /// the raw one (`$request_uri`), and an upstream cleans it in its own way: what is refused here could be allowed
        /// as `/public/%2e%2e/admin` and served as `/admin`. Queries are not looked at.
        "reject_ambiguous_path" in [HTTP SERVER] (Flag) = "off" => |c, _, n| once(&mut c.reject, n.flag(0)?, n);
    },
    variables: &[
        // The client's path as locations are chosen by it, for auth services: in a subrequest too, and encoded, so that
        // it can stand in a field.
        Row::fresh("normalized_uri", |ex, out| {
            escape(Escape::Uri, ex.visit.head.uri(ex.visit.bytes), out);
            true
        }),
    ],
    plan: |_, scope, plan| {
        plan.rejects_ambiguous_path = scope.get_mut::<PathSettings>().settle().reject;
        Ok(())
    },
};

settings! {
    /// What is refused.
    PathSettings => PathValues {
        /// Whether ambiguous paths are.
        reject: bool = false;
    }
}

/// Whether the path of a client's request is to be refused; if so, that is logged.
pub fn is_refused(ex: &Exchange<'_>) -> bool {
    let visit = ex.visit;
    if !ex.server.plan.rejects_ambiguous_path {
        return false;
    }
    let found = ambiguity(visit.head.path.of(visit.bytes));
    if let Some(ambiguity) = found {
        auth_outcome::set_reason(ex, Reason::AmbiguousPath);
        ex.log(Level::Info, format_args!("client sent a path with {ambiguity}"));
    }
    found.is_some()
}
