//! From the tree of a configuration file to the `Config` that serves: every directive applied, then every plan made.

mod faults;
mod listen;
mod server;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use conf::{Contexts, Diagnostic, Files, Node, Table, Tree};

use crate::config::Config;
use crate::directives::{Verdict, third_party};
use crate::log::Logs;
use crate::metrics::{Reading, upstream_readings};
use crate::module::Scope;
use crate::modules::status::Bans;
use crate::modules::{self, access_log, auth_request, cache, core, upstream};
use crate::plan::{Content, Plan};
use crate::product::Place;
use crate::variables::Registry;
use crate::zone::Zones;

pub use faults::look;
pub use server::{LocationKind, LocationNode, ServerNode};

/// What directives leave behind while the file is read, beside the settings of their own block.
pub struct Compiler {
    /// The names of variables.
    pub variables: Registry,
    /// The folders that relative paths start from.
    pub paths: Paths,
    /// Log files that the configuration names.
    pub logs: Logs,
    /// Shared state that outlives a configuration.
    pub zones: Arc<Zones>,
    /// `upstream` blocks and the groups that `proxy_pass` implies.
    pub upstreams: upstream::Groups,
    /// `server` blocks as read.
    pub servers: Vec<ServerNode>,
    /// What is strange but no error.
    pub warnings: Vec<Diagnostic>,
    /// The context being read.
    pub context: Contexts,
    /// Whether there was an `events` block, which nginx insists on.
    pub has_events: bool,
    /// The `http` block as read.
    pub http: Option<Scope>,
    /// Formats of access logs.
    pub formats: access_log::Formats,
    /// Folders that the configuration writes to.
    pub folders: Vec<PathBuf>,
    /// Where spans are sent.
    pub otel: modules::otel::Export,
    /// Caches by `proxy_cache_path`.
    pub caches: Vec<cache::CachePath>,
    /// Auth services that are built in.
    pub auth_services: Vec<Arc<modules::auth_service::Service>>,
    /// Zones of auth decisions, by name.
    pub decisions: HashMap<String, Arc<auth_request::Store>>,
    /// Keys and tokens of `auth_jwt`.
    pub jwt: modules::auth_jwt::Compiled,
    /// Certificates with their keys, by what the configuration names them as.
    pub certified_keys: HashMap<(Vec<u8>, Vec<u8>), Arc<rustls::sign::CertifiedKey>>,
    /// Sizes of the zones of `ssl_session_cache`.
    pub session_zones: HashMap<String, u64>,
    /// What locations that pass requests on over TLS share.
    pub proxy_ssl: modules::proxy_ssl::Compiled,
    /// Whether some location has stored answers updated in the background.
    pub background_updates: bool,
    /// DNS servers that the configuration names.
    pub resolvers: Vec<net::names::Servers>,
    /// Counts the locations that pass requests on, to tell their idle connections apart.
    pub locations_with_upstreams: usize,
    /// Whether the server being finished opens tunnels, and so lets CONNECT in.
    pub allow_connect: bool,
    /// What there is to read of what the configuration is made of.
    pub readings: Vec<Reading>,
    /// Who is banned, by zone.
    pub bans: Vec<Bans>,
    /// Whether some location shows metrics, so that it is worth to count.
    pub measures: bool,
    /// The first name of the server being finished, `_` where it has none: the label of its metrics.
    pub server_name: String,
    /// Named locations of the server being finished.
    pub named: HashMap<Vec<u8>, Plan>,
    /// The files that it may read beside its own.
    files: Box<dyn Files>,
    /// What was wrong so far, where the configuration is only looked at and the rest of it shall be, too.
    faults: Option<Vec<Diagnostic>>,
}

/// The folders that relative paths start from.
#[derive(Clone, Debug)]
pub struct Paths {
    /// `-p`: of logs, temporary files, roots.
    pub prefix: PathBuf,
    /// The folder of the configuration file: of `include`, password files, certificates.
    pub conf_prefix: PathBuf,
    /// Whether no `-p` was given, so that unnamed files are where nginx's packages have them.
    pub packaged: bool,
    /// Whether the program was started by root: the user and the default port depend on it, also where root was given up.
    pub as_root: bool,
}

impl Paths {
    /// A path relative to the prefix.
    pub fn in_prefix(&self, path: &[u8]) -> PathBuf {
        self.prefix.join(as_path(path))
    }

    /// Where the file or folder is that the configuration does not name.
    pub fn unnamed(&self, place: &Place) -> PathBuf {
        self.prefix.join(if self.packaged { place.packaged } else { place.under_prefix })
    }
}

/// Bytes of the configuration as a path.
pub fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Every directive: those of the modules, then nginx's others, which have no effect or are refused.
static DIRECTIVES: LazyLock<Table<'static, Verdict>> =
    LazyLock::new(|| Table::new(modules::directives().chain(crate::directives::rows())));

/// Compiles a configuration file, with the files that it names; what is wrong comes back with its place.
pub fn compile(
    tree: &Tree,
    paths: Paths,
    files: Box<dyn Files>,
    zones: Arc<Zones>,
    logs: Logs,
) -> Result<(Config, Vec<Diagnostic>), Diagnostic> {
    let mut compiler = Compiler::new(paths, files, zones, logs);
    let mut main = Scope::default();
    compiler.block(&tree.nodes, Contexts::MAIN, &mut main)?;
    if !compiler.has_events {
        return Err(no_events());
    }
    compiler.warnings.extend(crate::warnings::find(tree));
    compiler.finish(&mut main)
}

fn no_events() -> Diagnostic {
    Diagnostic::nowhere("no \"events\" section in configuration").instead("write `events {}`")
}

impl Compiler {
    fn new(paths: Paths, files: Box<dyn Files>, zones: Arc<Zones>, logs: Logs) -> Compiler {
        Compiler {
            variables: Registry::default(),
            paths,
            logs,
            zones,
            upstreams: upstream::Groups::default(),
            servers: Vec::new(),
            warnings: Vec::new(),
            context: Contexts::MAIN,
            has_events: false,
            http: None,
            formats: Default::default(),
            folders: Vec::new(),
            otel: Default::default(),
            caches: Vec::new(),
            auth_services: Vec::new(),
            decisions: HashMap::new(),
            jwt: Default::default(),
            certified_keys: HashMap::new(),
            session_zones: HashMap::new(),
            proxy_ssl: Default::default(),
            background_updates: false,
            resolvers: Vec::new(),
            locations_with_upstreams: 0,
            allow_connect: false,
            readings: Vec::new(),
            bans: Vec::new(),
            measures: false,
            server_name: String::new(),
            named: HashMap::new(),
            files,
            faults: None,
        }
    }

    /// Applies the directives of a block to its scope.
    pub fn block(&mut self, nodes: &[Node], context: Contexts, scope: &mut Scope) -> Result<(), Diagnostic> {
        let outer = std::mem::replace(&mut self.context, context);
        let result = nodes
            .iter()
            .try_for_each(|node| self.directive(node, scope).or_else(|fault| self.note(node, fault)));
        self.context = outer;
        result
    }

    fn directive(&mut self, node: &Node, scope: &mut Scope) -> Result<(), Diagnostic> {
        let row = DIRECTIVES.find(node, self.context).map_err(|fault| third_party::explain(node, fault))?;
        match row.set {
            Verdict::Built(set) => set(scope, self, node),
            verdict => {
                self.remark(node, verdict);
                verdict.complaint(node).map_or(Ok(()), Err)
            }
        }
    }

    /// A folder that the configuration writes to: made at the start, for the user of the worker process. Its place
    /// among the configuration's folders is returned.
    pub fn needs_folder(&mut self, folder: PathBuf) -> usize {
        self.folders.iter().position(|known| *known == folder).unwrap_or_else(|| {
            self.folders.push(folder);
            self.folders.len() - 1
        })
    }

    /// The bytes of a file that a directive names, as they are part of this configuration.
    pub fn read(&mut self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.files.read(path)
    }

    /// Warns about something that works, but hardly as meant.
    pub fn warn(&mut self, warning: Diagnostic) {
        self.warnings.push(warning);
    }

    /// The same about something that several blocks have from the one around them.
    pub fn warn_once(&mut self, warning: Diagnostic) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn finish(mut self, main: &mut Scope) -> Result<(Config, Vec<Diagnostic>), Diagnostic> {
        let process = core::Main::settle(main, &self.paths)?;
        let error_log = core::error_log(main, &mut self.logs)?;
        let mut http = self.http.take().unwrap_or_default();
        http.inherit(main);
        let (servers, listeners) = server::finish(&mut self, &http)?;
        let metrics = self.measures.then_some(&self.zones.metrics);
        let upstreams = self.upstreams.finish(metrics, http.get_mut(), &self.zones, &mut self.warnings)?;
        self.readings.extend(upstreams.iter().flat_map(upstream_readings));
        self.readings.extend(self.caches.iter().flat_map(cache::CachePath::readings));
        if self.measures {
            self.readings
                .extend(self.auth_services.iter().filter_map(|service| service.measure(&self.zones.metrics)));
        }
        let variables = self.variables.finish()?;
        let config = Config {
            main: process,
            error_log,
            tls_wanted: modules::ssl::Wanted::of(&variables),
            variables,
            servers,
            listeners,
            upstreams,
            folders: self.folders,
            resolvers: self.resolvers,
            auth_services: self.auth_services,
            otel: self.otel,
            readings: self.readings,
            bans: self.bans,
            measures: self.measures,
            caches: self.caches,
            background_updates: self.background_updates,
            log_failure: self.logs.failure().map(|(path, error)| {
                format!("open() \"{}\" failed {}", path.display(), crate::log::system_error(error))
            }),
            keeps_stderr: self.logs.uses_stderr(),
            logs: self.logs.into_files(),
            zones: self.zones,
            generation: 0,
        };
        Ok((config, self.warnings))
    }

    /// Makes the plan of a location, with what it inherits from the block around it.
    pub fn plan(&mut self, mut scope: Scope, outer: &Scope) -> Result<Plan, Diagnostic> {
        scope.inherit(outer);
        self.plan_of(&mut scope)
    }

    /// Makes the plan of a scope that has inherited already, its inner locations included.
    pub fn plan_of(&mut self, scope: &mut Scope) -> Result<Plan, Diagnostic> {
        let children = scope.get_mut::<core::Children>();
        let (locations, limit_except) =
            (std::mem::take(&mut children.locations), children.limit_except.take());
        let core = core::settle(scope, self)?;
        let mut plan = Plan::new(core);
        for module in modules::MODULES {
            let joined = (module.plan)(self, scope, &mut plan);
            self.forgive(joined)?;
        }
        plan.core.auto_redirect =
            matches!(plan.content, Content::Proxy(_) | Content::FastCgi(_)) && plan.core.name.ends_with(b"/");
        if let Some((methods, mut inner)) = limit_except {
            inner.inherit_inside(scope);
            plan.limit_except = Some((methods, Box::new(self.plan_of(&mut inner)?)));
        }
        server::finish_locations(self, locations, scope, &mut plan)?;
        Ok(plan)
    }
}
