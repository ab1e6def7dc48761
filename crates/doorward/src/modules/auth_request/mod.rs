//! `ngx_http_auth_request_module`: asks another location whether a request may pass.

use conf::Arg::Text;
use conf::Diagnostic;

use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::{Module, Settings};
use crate::plan::{Access, Verdict};
use crate::run::{Stop, ask};
use crate::variables::{Index, Registry, Template};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_auth_request_module",
    directives: directives! { AuthSettings;
        /// Lets a request pass when a subrequest to `uri` answers 2xx, and refuses it with the answer's status when
        /// that is 401 or 403; any other answer is an error (500).
        "auth_request" in [HTTP SERVER LOCATION] (Text("uri | off")) = "off" => |c, _, n| {
            let uri = (n.bytes(0) != b"off").then(|| n.bytes(0).to_vec());
            conf::once(&mut c.uri, uri, n)
        };
        /// Sets `$variable` to `value` when the subrequest has ended; `value` sees the answer's own variables, such as
        /// `$upstream_http_*`.
        "auth_request_set" in [HTTP SERVER LOCATION] (Text("$variable"), Text("value")) = "" => |c, cx, n| {
            let Some(name) = n.str(0)?.strip_prefix('$').filter(|name| !name.is_empty()) else {
                return Err(Diagnostic::at(n.word(0)?.span, format!("invalid variable name \"{}\"", n.str(0)?)));
            };
            let index = cx.variables.stored(name, Some(n.word(0)?.span))?;
            let write = Registry::write_of(name);
            let value = Template::compile(n.word(1)?, &mut cx.variables)?;
            c.set.get_or_insert_default().push(SetLine { index, write, value });
            Ok(())
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        let settings = scope.get_mut::<AuthSettings>();
        if let Some(Some(uri)) = &settings.uri {
            let set = settings.set.clone().unwrap_or_default();
            plan.access.push(Access::Request(AuthRequest { uri: uri.clone(), set }));
        }
        Ok(())
    },
};

#[derive(Clone, Default)]
struct AuthSettings {
    uri: Option<Option<Vec<u8>>>,
    set: Option<Vec<SetLine>>,
}

impl Settings for AuthSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.uri.is_none() {
            self.uri.clone_from(&outer.uri);
        }
        if self.set.is_none() {
            self.set.clone_from(&outer.set);
        }
    }
}

#[derive(Clone)]
struct SetLine {
    index: Index,
    write: Option<fn(&mut Exchange<'_>, &[u8])>,
    value: Template,
}

/// The question that a location asks of every request.
pub struct AuthRequest {
    uri: Vec<u8>,
    set: Vec<SetLine>,
}

impl AuthRequest {
    /// Asks, and says whether the request may pass.
    pub async fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        let answer = ask(ex, &self.uri).await?;
        for line in &self.set {
            let value = line.value.eval(&answer);
            match line.write {
                Some(write) => write(ex, &value),
                None => ex.store(line.index, &value),
            }
        }
        match answer.response.status {
            200..300 => Ok(Verdict::Allowed),
            403 => Err(Stop::Status(403)),
            401 => {
                // A challenge of the service is the client's (RFC 9110, 11.6.1).
                let visible = answer.response.fields.visible().map(|(id, _, value)| (id, value));
                let sent = answer.response.fields.of_upstream().map(|(id, _, value)| (id, value));
                let challenges: Vec<Vec<u8>> =
                    if answer.response.fields.get(wire::Name::WwwAuthenticate).is_some() {
                        visible
                            .filter(|(id, _)| *id == wire::Name::WwwAuthenticate)
                            .map(|(_, v)| v.to_vec())
                            .collect()
                    } else {
                        sent.filter(|(id, _)| *id == wire::Name::WwwAuthenticate)
                            .map(|(_, v)| v.to_vec())
                            .collect()
                    };
                for challenge in &challenges {
                    ex.response.fields.add("WWW-Authenticate", challenge);
                }
                Err(Stop::Status(401))
            }
            status => {
                // nginx is still "sending to client" then, where the answer came from an upstream.
                let doing = if answer.upstream.is_empty() { "" } else { " while sending to client" };
                ex.log(Level::Error, format_args!("auth request unexpected status: {status}{doing}"));
                Err(Stop::Status(500))
            }
        }
    }
}
