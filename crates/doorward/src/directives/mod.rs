//! The directives that nginx knows and Doorward does not do: accepted without effect, or refused, each with its reason.
//!
//! A directive that is built has its row in its own module, and none here.

mod core;
mod http_access;
mod http_content;
mod http_core;
mod http_fastcgi;
mod http_filters;
mod http_grpc;
mod http_memcached;
mod http_proxy;
mod http_scgi;
mod http_ssl;
mod http_upstream;
mod http_uwsgi;
mod http_variables;
mod plus;
pub(crate) mod third_party;
mod verdict;

use conf::{Arg, Contexts, Diagnostic, Directive, Node, Shape};

use crate::module::Set;

/// A directive that Doorward knows and does not do.
pub(crate) type Row = Directive<Verdict>;

/// What becomes of such a directive.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    /// A module does it.
    Built(Set),
    /// It is accepted and changes nothing, for this reason.
    NoEffect(&'static str),
    /// The configuration is refused: to go on without it would not do what its author asked for.
    Refused {
        /// Why Doorward does not do it.
        because: &'static str,
        /// What to do.
        instead: &'static str,
    },
}

impl Verdict {
    /// The complaint about a directive that is refused; none about one that is accepted.
    pub(crate) fn complaint(self, node: &Node) -> Option<Diagnostic> {
        match self {
            Self::Built(_) | Self::NoEffect(_) => None,
            Self::Refused { because, instead } => {
                Some(node.complaint(&format!("is not supported: {because}")).instead(instead))
            }
        }
    }
}

/// All rows.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    [
        core::ROWS,
        http_core::ROWS,
        http_content::ROWS,
        http_access::ROWS,
        http_variables::ROWS,
        http_filters::ROWS,
        http_proxy::ROWS,
        http_grpc::ROWS,
        http_fastcgi::ROWS,
        http_uwsgi::ROWS,
        http_scgi::ROWS,
        http_memcached::ROWS,
        http_upstream::ROWS,
        http_ssl::ROWS,
        plus::ROWS,
    ]
    .into_iter()
    .flatten()
}

/// A row that ends with `;`.
const fn row(name: &'static str, contexts: Contexts, args: &'static [Arg], set: Verdict) -> Row {
    Row { name, contexts, args, shape: Shape::Simple, default: "", doc: "", set }
}

/// A row with a block of data, or of directives that have no rows.
const fn free(name: &'static str, contexts: Contexts, args: &'static [Arg], set: Verdict) -> Row {
    Row { name, contexts, args, shape: Shape::Free, default: "", doc: "", set }
}

/// Short names for the places where the rows may stand.
mod contexts {
    use conf::Contexts;

    pub(super) const ANY: Contexts = Contexts::ANY;
    pub(super) const MAIN: Contexts = Contexts::MAIN;
    pub(super) const EVENTS: Contexts = Contexts::EVENTS;
    pub(super) const HTTP: Contexts = Contexts::HTTP;
    pub(super) const SERVER: Contexts = Contexts::SERVER;
    pub(super) const LOCATION: Contexts = Contexts::LOCATION;
    pub(super) const IF_IN_LOCATION: Contexts = Contexts::IF_IN_LOCATION;
    pub(super) const LIMIT_EXCEPT: Contexts = Contexts::LIMIT_EXCEPT;
    pub(super) const UPSTREAM: Contexts = Contexts::UPSTREAM;
    pub(super) const HS: Contexts = HTTP.or(SERVER);
    pub(super) const SL: Contexts = SERVER.or(LOCATION);
    pub(super) const HSL: Contexts = HS.or(LOCATION);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules;

    /// nginx's own facts: name, contexts, and how many arguments.
    const NGINX: &str = include_str!("../../tests/nginx-directives.tsv");

    fn every_row() -> impl Iterator<Item = &'static Row> {
        modules::directives().chain(rows())
    }

    /// One of nginx's facts.
    struct Fact {
        name: &'static str,
        contexts: Vec<String>,
        arity: &'static str,
    }

    fn facts() -> Vec<Fact> {
        let fact = |line: &'static str| {
            let mut columns = line.split('\t');
            let (name, contexts, arity) =
                (columns.next().unwrap(), columns.next().unwrap(), columns.next().unwrap());
            Fact { name, contexts: sorted(&contexts.replace("if-in-", "if in "), ","), arity }
        };
        NGINX.lines().skip(1).map(fact).collect()
    }

    #[test]
    fn rows_stand_where_nginx_has_them_with_as_many_arguments() {
        let facts = facts();
        let mut wrong = Vec::new();
        // What stands in a block of Doorward's own is Doorward's own.
        let own = |row: &&Row| row.contexts == Contexts::AUTH_SERVICE;
        for row in every_row().filter(|row| !own(row)) {
            let mut same_name = facts.iter().filter(|fact| fact.name == row.name).peekable();
            let place = sorted(&row.contexts.to_string(), ", ");
            let agrees = |fact: &Fact| {
                fact.contexts == place
                    && count(fact.arity) == row.count()
                    && fact.arity.contains("BLOCK") == (row.shape != Shape::Simple)
            };
            // Names that nginx does not have are NGINX Plus's.
            if same_name.peek().is_some() && !same_name.any(agrees) {
                wrong.push(format!("{} in {}: {}", row.name, row.contexts, row.syntax()));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_directive_of_nginx_has_a_row() {
        let missing: Vec<_> = facts()
            .into_iter()
            .filter(|fact| {
                let of_name = every_row().filter(|row| row.name == fact.name);
                let places: Vec<String> =
                    of_name.flat_map(|row| sorted(&row.contexts.to_string(), ", ")).collect();
                !fact.contexts.iter().all(|place| places.contains(place))
            })
            .map(|fact| format!("{} in {}", fact.name, fact.contexts.join(", ")))
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn no_two_rows_claim_one_place() {
        let all: Vec<_> = every_row().collect();
        let mut twice = Vec::new();
        for (at, row) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                let places = sorted(&row.contexts.to_string(), ", ");
                let shared =
                    sorted(&other.contexts.to_string(), ", ").iter().any(|place| places.contains(place));
                if row.name == other.name && shared {
                    twice.push(format!("{} in {}", row.name, row.contexts));
                }
            }
        }
        assert!(twice.is_empty(), "{twice:#?}");
    }

    fn sorted(list: &str, separator: &str) -> Vec<String> {
        let mut names: Vec<_> = list.split(separator).map(str::to_owned).collect();
        names.sort();
        names
    }

    /// `TAKE12`, `1MORE`, `FLAG`, ... as the least and the greatest number.
    fn count(arity: &str) -> (usize, Option<usize>) {
        let counts = arity.split('|').filter(|flag| *flag != "BLOCK").map(|flag| match flag {
            "NOARGS" => (0, Some(0)),
            "FLAG" => (1, Some(1)),
            "1MORE" => (1, None),
            "2MORE" => (2, None),
            take => {
                let digits: Vec<usize> =
                    take["TAKE".len()..].chars().map(|c| c.to_digit(10).unwrap() as usize).collect();
                (digits[0], digits.last().copied())
            }
        });
        counts.reduce(|a, b| (a.0.min(b.0), a.1.zip(b.1).map(|(x, y)| x.max(y)))).unwrap()
    }
}
