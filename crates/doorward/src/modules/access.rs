//! `ngx_http_access_module`: lets requests pass, or refuses them, by the client's address.

use std::net::IpAddr;

use conf::Arg::Text;
use conf::{Diagnostic, Node};
use net::Address;

use crate::cidr::Cidr;
use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::{Module, Settings};
use crate::modules::auth_outcome::{self, Reason};
use crate::plan::{Access, Verdict};
use crate::run::Stop;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_access_module",
    directives: directives! { AccessSettings;
        /// Lets clients of this address, network or kind pass. Of all `allow` and `deny`, the first that matches counts.
        "allow" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("address | CIDR | unix: | all")) = "" => |c, cx, n| add(c, cx, n, false);
        /// Refuses clients of this address, network or kind with 403.
        "deny" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("address | CIDR | unix: | all")) = "" => |c, cx, n| add(c, cx, n, true);
    },
    variables: &[],
    plan: |_, scope, plan| {
        let rules = &scope.get_mut::<AccessSettings>().rules;
        if !rules.is_empty() {
            plan.access.push(Access::Address(Rules::new(rules)));
        }
        Ok(())
    },
};

#[derive(Clone, Default)]
struct AccessSettings {
    rules: Vec<Rule>,
}

impl Settings for AccessSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.rules.is_empty() {
            self.rules.clone_from(&outer.rules);
        }
    }
}

fn add(c: &mut AccessSettings, cx: &mut Compiler, node: &Node, deny: bool) -> Result<(), Diagnostic> {
    let word = node.word(0)?;
    let who = match &*word.text {
        b"all" => None,
        _ => Some(Cidr::of_word(word, cx).ok_or_else(|| {
            Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()))
                .instead("it is an address, a network such as 192.0.2.0/24, unix: or all")
        })?),
    };
    c.rules.push(Rule { who, deny });
    Ok(())
}

/// One line of `allow` or `deny`.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// `None` for all.
    who: Option<Cidr>,
    deny: bool,
}

/// Who may pass by address.
pub struct Rules {
    rules: Box<[Rule]>,
    /// Whether any of them is about IPv4.
    ipv4: bool,
}

impl Rules {
    fn new(rules: &[Rule]) -> Rules {
        let ipv4 = |rule: &Rule| matches!(rule.who, None | Some(Cidr::Inet(IpAddr::V4(_), _)));
        Rules { rules: rules.into(), ipv4: rules.iter().any(ipv4) }
    }

    /// Whether the client may pass: the first rule that matches its address says so.
    pub fn check(&self, ex: &Exchange<'_>) -> Result<Verdict, Stop> {
        let found = ex.with_remote(|client| self.find(client));
        match found {
            None => Ok(Verdict::Declined),
            Some(Rule { deny: false, .. }) => Ok(Verdict::Allowed),
            Some(Rule { deny: true, .. }) => {
                auth_outcome::set_reason(ex, Reason::Address);
                // With `satisfy any`, the line is written once it is known that nobody else lets it pass.
                if !ex.plan.core.satisfy_any {
                    ex.log(Level::Error, format_args!("access forbidden by rule"));
                }
                Err(Stop::Status(403))
            }
        }
    }

    fn find(&self, client: &Address) -> Option<Rule> {
        let matches = |cidr: Cidr| match client {
            // As in nginx, IPv4 that came through an IPv6 socket is IPv4 only where rules speak of it.
            Address::Inet(inet) if !self.ipv4 => cidr.contains_ip(inet.ip()),
            _ => cidr.contains(client),
        };
        self.rules.iter().find(|rule| rule.who.is_none_or(matches)).copied()
    }
}
