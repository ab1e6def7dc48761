//! Certificates that variables name (`ssl_certificate $ssl_server_name.crt`): loaded in each handshake, or kept for a while.

use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use wire::h1::RequestHead;

use super::settings::Certificates;
use crate::client::Client;
use crate::config::Server;
use crate::exchange::{Exchange, Visit};
use crate::tls::on_demand::Source;
use crate::variables::Template;
use crate::worker::{Service, Worker};

/// Certificates with their keys, by names that a handshake has a part in.
pub struct Named {
    /// Names of files: of the certificate, of its key.
    pub pairs: Vec<(Template, Template)>,
    /// Where they are loaded from.
    pub source: Source,
}

impl Named {
    /// The settings of a handshake with the certificates that it names, or why there are none.
    pub fn settings(
        &self,
        settings: &ServerConfig,
        server: &Server,
        client: &Client,
        worker: &Worker,
        service: &Rc<Service>,
    ) -> Result<Arc<ServerConfig>, String> {
        // Variables are a request's: this is one of which nothing was read.
        let head = RequestHead::default();
        let started = net::clock::now();
        let visit = Visit::new(worker, service, client, server, &head, b"", Vec::new(), started);
        let ex = Exchange::new(&visit, server);
        let load = |(certificate, key): &(Template, Template)| {
            self.source.load(&certificate.eval(&ex), &key.eval(&ex)).map(Arc::new)
        };
        let certified = self.pairs.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let mut settings = settings.clone();
        settings.cert_resolver = Arc::new(Certificates::new(certified.into_iter().map(|pair| (pair, None))));
        Ok(Arc::new(settings))
    }
}
