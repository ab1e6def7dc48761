//! `ngx_http_static_module` and `ngx_http_index_module`: files below `root` or `alias`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use conf::Arg::{Many, Text};
use wire::h1::Method;

use crate::body::{Body, FilePart};
use crate::compile::as_path;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::{Module, Settings};
use crate::run::Stop;
use crate::variables::Template;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_index_module",
    directives: directives! { IndexSettings;
        /// Files that are looked for in a folder, in order.
        "index" in [HTTP SERVER LOCATION] (Many(&Text("file"))) = "index.html" => |c, cx, n| {
            for word in &n.args {
                let name = Template::compile(word, &mut cx.variables)?;
                c.names.push(name);
            }
            Ok(())
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        let mut index = scope.get_mut::<IndexSettings>().names.clone();
        if index.is_empty() {
            index.push(Template::literal(b"index.html"));
        }
        if matches!(plan.content, crate::plan::Content::Files(_)) {
            plan.content = crate::plan::Content::Files(Files { index });
        }
        Ok(())
    },
};

#[derive(Clone, Default)]
struct IndexSettings {
    names: Vec<Template>,
}

impl Settings for IndexSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.names.is_empty() {
            self.names.clone_from(&outer.names);
        }
    }
}

/// Serves files.
#[derive(Default)]
pub struct Files {
    index: Vec<Template>,
}

impl Files {
    /// Answers with the file that the path names, or leads to a folder's index.
    pub fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        if ex.uri.ends_with(b"/") {
            return self.index(ex);
        }
        if !matches!(ex.method, Method::Get | Method::Head | Method::Post) {
            return Err(Stop::Status(405));
        }
        let path = map_to_path(ex, &ex.uri);
        let path = as_path(&path);
        let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        let (file, metadata) = opened.map_err(|error| not_opened(ex, path, &error))?;
        if metadata.is_dir() {
            let mut target = Vec::new();
            wire::uri::escape(wire::uri::Escape::Uri, &ex.uri, &mut target);
            target.push(b'/');
            if !ex.args.is_empty() {
                target.push(b'?');
                target.extend_from_slice(&ex.args);
            }
            ex.response.fields.set("Location", &target);
            return Err(Stop::Status(301));
        }
        if !metadata.is_file() {
            let shown = path.display();
            ex.log(Level::Crit, format_args!("\"{shown}\" is not a regular file"));
            return Err(Stop::Status(404));
        }
        if ex.method == Method::Post {
            return Err(Stop::Status(405));
        }
        use std::os::unix::fs::MetadataExt;
        let length = metadata.len();
        ex.response.status = 200;
        ex.response.content_length = Some(length);
        ex.response.last_modified = Some(metadata.mtime());
        ex.response.allow_ranges = true;
        if ex.plan.core.etag {
            ex.response.fields.set("ETag", format!("\"{:x}-{length:x}\"", metadata.mtime()).as_bytes());
        }
        let media_type = media_type(ex);
        set_content_type(ex, &media_type);
        if length == 0 {
            return Ok(Body::Empty);
        }
        Ok(Body::File(FilePart { file: Arc::new(file), offset: 0, length }))
    }

    fn index(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        if !matches!(ex.method, Method::Get | Method::Head | Method::Post) {
            return Err(Stop::Status(403));
        }
        for name in &self.index {
            let name = name.eval(ex);
            if name.starts_with(b"/") {
                ex.uri = name;
                return Err(Stop::Redirect);
            }
            let mut uri = ex.uri.clone();
            uri.extend_from_slice(&name);
            let path = map_to_path(ex, &uri);
            match as_path(&path).metadata() {
                Ok(metadata) if !metadata.is_dir() => {
                    ex.uri = uri;
                    return Err(Stop::Redirect);
                }
                _ => {}
            }
        }
        let path = map_to_path(ex, &ex.uri);
        let path = as_path(&path);
        match path.metadata() {
            Err(error) => Err(not_opened(ex, path, &error)),
            Ok(_) => {
                let shown = path.display();
                ex.log(Level::Error, format_args!("directory index of \"{shown}\" is forbidden"));
                Err(Stop::Status(403))
            }
        }
    }
}

fn not_opened(ex: &Exchange<'_>, path: &Path, error: &io::Error) -> Stop {
    let status = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => 404,
        io::ErrorKind::PermissionDenied => 403,
        _ => 500,
    };
    let level = if status == 500 { Level::Crit } else { Level::Error };
    if status != 404 || ex.plan.core.log_not_found {
        let code = error.raw_os_error().unwrap_or_default();
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default().to_owned();
        ex.log(level, format_args!("open() \"{}\" failed ({code}: {text})", path.display()));
    }
    Stop::Status(status)
}

/// The file that a path stands for (nginx's ngx_http_map_uri_to_path).
pub fn map_to_path(ex: &Exchange<'_>, uri: &[u8]) -> Vec<u8> {
    let root = &ex.plan.core.root;
    let mut path = root.path.eval(ex);
    if !path.starts_with(b"/") {
        use std::os::unix::ffi::OsStrExt;
        path = ex.visit.config.main.prefix.join(as_path(&path)).into_os_string().as_bytes().to_vec();
    }
    if !root.alias {
        path.extend_from_slice(uri);
        return path;
    }
    match ex.plan.core.alias_prefix {
        // A pattern's alias is the whole path, made of captures.
        None => path,
        Some(prefix) => {
            path.extend_from_slice(uri.get(prefix..).unwrap_or_default());
            path
        }
    }
}

/// The media type of the exchange's path.
pub fn media_type(ex: &Exchange<'_>) -> Vec<u8> {
    let extension = wire::uri::extension(&ex.uri);
    let core = &ex.plan.core;
    match core.types.get(extension).or_else(|| core.types.get(&extension.to_ascii_lowercase())) {
        Some(found) if !extension.is_empty() => found.clone(),
        _ => core.default_type.clone(),
    }
}

/// Sets `Content-Type`, unless the type is empty.
pub fn set_content_type(ex: &mut Exchange<'_>, media_type: &[u8]) {
    if !media_type.is_empty() {
        ex.response.fields.set("Content-Type", media_type);
    }
}
