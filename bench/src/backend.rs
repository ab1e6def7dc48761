//! The services behind the gateway: one nginx on core 1 that answers as a service and as an auth service.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::Outcome;
use crate::server::{self, Process};

/// Where the services are.
pub(crate) struct Ports {
    pub(crate) service: u16,
    pub(crate) auth: u16,
    /// The service once more, over TLS.
    pub(crate) secured: u16,
    /// A folder with the files `1k`, `64k`, `1m`, `keys.json`, `ecdsa.pem` and `rsa.pem`.
    pub(crate) files: String,
}

/// The running services.
pub(crate) struct Backend {
    pub(crate) ports: Ports,
    _process: Process,
    _folder: TempDir,
}

impl Backend {
    pub(crate) fn start(nginx: &Path) -> Outcome<Self> {
        // In memory, where that is possible: a store of a million keys is made there in seconds.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory)? } else { TempDir::new()? };
        for (name, size) in [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)] {
            fs::write(folder.path().join(name), vec![b'x'; size])?;
        }
        fs::write(folder.path().join("keys.json"), crate::tokens::keys()?)?;
        crate::certificates::write(folder.path())?;
        let files = folder.path().display().to_string();
        let [service, auth, secured] = [server::free_port()?, server::free_port()?, server::free_port()?];
        let ports = Ports { service, auth, secured, files };
        let configuration = format!(
            "{}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    sendfile on;
    tcp_nopush on;
    server {{
        listen 127.0.0.1:{} backlog=4096;
        listen 127.0.0.1:{} backlog=4096 ssl;
        ssl_certificate ecdsa.pem;
        ssl_certificate_key ecdsa.pem;
        root {};
        location = / {{ return 200 \"hello from the service\\n\"; }}
        location /api {{ return 200 \"hello from the service\\n\"; }}
    }}
    server {{
        listen 127.0.0.1:{} backlog=4096;
        location / {{ return 200; add_header X-User-ID alice; }}
        # `return 401` would send a page; an empty refusal has to be made by hand.
        location = /refuse {{ error_page 404 =401 /empty; return 404; }}
        location = /empty {{ return 200; }}
        location = /refuse-with-words {{ return 401 \"no such token\\n\"; }}
    }}
}}",
            server::MAIN,
            ports.service,
            ports.secured,
            ports.files,
            ports.auth
        );
        let process =
            Process::start(nginx, folder.path(), &configuration, server::Core::Load, ports.service)?;
        Ok(Self { ports, _process: process, _folder: folder })
    }
}
