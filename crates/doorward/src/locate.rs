//! Which location a path belongs to (nginx's documentation of `location`; exact, longest prefix, regex in order).

use foldhash::HashMap;

use crate::exchange::Exchange;
use crate::plan::Plan;
use crate::regex::Pattern;

/// The locations of one server, or those inside a location.
#[derive(Default)]
pub struct Locations {
    exact: HashMap<Box<[u8]>, Plan>,
    /// Sorted by name, so that the longest prefix is found by bisection.
    prefixes: Vec<Prefix>,
    regexes: Vec<(Pattern, Plan)>,
    /// Whether any location wants its last slash.
    redirects: bool,
}

struct Prefix {
    name: Box<[u8]>,
    /// `^~`: no regular expression is tried after it.
    final_: bool,
    /// The longest other prefix that is a prefix of this one.
    parent: Option<u32>,
    plan: Plan,
}

/// What the search came to.
pub enum Found<'c> {
    /// Inside this location.
    Location(&'c Plan),
    /// The path lacks only its last slash for this location, which asks for it (`proxy_pass` below `/dir/`).
    Redirect(&'c Plan),
    /// No location; the enclosing plan applies.
    Nothing,
}

enum Static<'c> {
    Exact(&'c Plan),
    Prefix(&'c Prefix),
    Redirect(&'c Plan),
    Nothing,
}

impl Locations {
    /// Adds `location = name`.
    pub fn add_exact(&mut self, name: &[u8], plan: Plan) {
        self.exact.insert(name.into(), plan);
    }

    /// Adds `location name` or `location ^~ name`.
    pub fn add_prefix(&mut self, name: &[u8], final_: bool, plan: Plan) {
        self.prefixes.push(Prefix { name: name.into(), final_, parent: None, plan });
    }

    /// Adds `location ~ pattern`.
    pub fn add_regex(&mut self, pattern: Pattern, plan: Plan) {
        self.regexes.push((pattern, plan));
    }

    /// Sorts what was added; to be called once, before the first search.
    pub fn finish(&mut self) {
        self.prefixes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut plans = self.prefixes.iter().map(|p| &p.plan).chain(self.exact.values());
        self.redirects = plans.any(|plan| plan.core.auto_redirect);
        let mut open: Vec<u32> = Vec::new();
        for at in 0..self.prefixes.len() {
            while let Some(&top) = open.last()
                && !self.prefixes[at].name.starts_with(&self.prefixes[top as usize].name)
            {
                open.pop();
            }
            self.prefixes[at].parent = open.last().copied();
            open.push(at as u32);
        }
    }

    /// Chooses the location of the exchange's path, captures and all.
    pub fn find<'c>(&'c self, ex: &mut Exchange<'_>) -> Found<'c> {
        match self.search(ex) {
            Search::Chosen(found) => found,
            Search::Prefix(plan) => Found::Location(plan),
            Search::Nothing => Found::Nothing,
        }
    }

    /// The location of a path that is known before any request is, where no regular expression chooses it.
    pub fn find_fixed(&self, path: &[u8]) -> Option<&Plan> {
        let mut found = None;
        let mut level = self;
        loop {
            match level.find_static(path) {
                Static::Exact(plan) => return Some(plan),
                Static::Prefix(prefix) => {
                    if !prefix.final_ && level.regexes.iter().any(|(pattern, _)| pattern.is_match(path)) {
                        return None;
                    }
                    found = Some(&prefix.plan);
                    level = &prefix.plan.locations;
                }
                Static::Nothing if level.regexes.iter().any(|(pattern, _)| pattern.is_match(path)) => {
                    return None;
                }
                Static::Redirect(_) => return None,
                Static::Nothing => return found,
            }
        }
    }

    /// A prefix found inside another location does not end the search: regular expressions of the
    /// enclosing levels still go first, innermost level first.
    fn search<'c>(&'c self, ex: &mut Exchange<'_>) -> Search<'c> {
        if self.is_empty() {
            return Search::Nothing;
        }
        let mut result = Search::Nothing;
        let mut final_ = false;
        match self.find_static(&ex.uri) {
            Static::Exact(plan) => return Search::Chosen(Found::Location(plan)),
            Static::Redirect(plan) => return Search::Chosen(Found::Redirect(plan)),
            Static::Prefix(prefix) => {
                final_ = prefix.final_;
                result = match prefix.plan.locations.search(ex) {
                    Search::Nothing => Search::Prefix(&prefix.plan),
                    Search::Chosen(inner) => return Search::Chosen(inner),
                    deeper => deeper,
                };
            }
            Static::Nothing => {}
        }
        if !final_ {
            for (pattern, plan) in &self.regexes {
                if pattern.matches(ex, None) {
                    return Search::Chosen(match plan.locations.find(ex) {
                        Found::Nothing => Found::Location(plan),
                        inner => inner,
                    });
                }
            }
        }
        result
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.regexes.is_empty()
    }

    fn find_static(&self, path: &[u8]) -> Static<'_> {
        if let Some(plan) = self.exact.get(path) {
            return Static::Exact(plan);
        }
        let after = self.prefixes.partition_point(|p| &*p.name <= path);
        // `path/` is a location of its own that wants its slash, and `path` is none.
        if self.redirects
            && after.checked_sub(1).is_none_or(|at| &*self.prefixes[at].name != path)
            && let Some(plan) = self.with_slash(path)
            && plan.core.auto_redirect
        {
            return Static::Redirect(plan);
        }
        let mut at = after.checked_sub(1);
        while let Some(index) = at {
            let prefix = &self.prefixes[index];
            if path.starts_with(&prefix.name) {
                return Static::Prefix(prefix);
            }
            at = prefix.parent.map(|p| p as usize);
        }
        Static::Nothing
    }

    /// The location of `path/`.
    fn with_slash(&self, path: &[u8]) -> Option<&Plan> {
        let wanted = || path.iter().chain(b"/");
        let at = self.prefixes.partition_point(|p| p.name.iter().lt(wanted()));
        let prefix = self.prefixes.get(at).filter(|p| p.name.iter().eq(wanted())).map(|p| &p.plan);
        prefix.or_else(|| self.exact.get([path, b"/"].concat().as_slice()))
    }
}

enum Search<'c> {
    Chosen(Found<'c>),
    Prefix(&'c Plan),
    Nothing,
}
