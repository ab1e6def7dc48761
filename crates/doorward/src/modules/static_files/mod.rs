//! `ngx_http_static_module` and `ngx_http_index_module`: files below `root` or `alias`.

mod index;
mod path;
mod symlinks;

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use conf::Arg::{Many, Text};
use wire::h1::Method;

pub use path::{check_alias, map_to_path, refusal, root, set_content_type, set_type_of_path};
pub use symlinks::{MODULE as SYMLINKS, Symlinks, metadata, open_file};

use crate::body::{Body, FilePart};
use crate::compile::as_path;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::module::{Module, Settings};
use crate::modules::autoindex;
use crate::plan::Content;
use crate::run::Stop;
use crate::variables::Template;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_index_module",
    directives: directives! { IndexSettings;
        /// Files that are looked for in a folder, in order.
        "index" in [HTTP SERVER LOCATION] (Many(&Text("file"))) = "index.html" => |c, cx, n| {
            for (at, word) in n.args.iter().enumerate() {
                if word.text.is_empty() {
                    return Err(conf::Diagnostic::at(word.span, "index \"\" in \"index\" directive is invalid"));
                }
                if word.text.starts_with(b"/") && at + 1 < n.args.len() {
                    let sentence = "only the last index in \"index\" directive should be absolute";
                    cx.warn(conf::Diagnostic::at(word.span, sentence).warning());
                }
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
        if matches!(plan.content, Content::Files(_)) {
            plan.content = Content::Files(Files { index, random: false, list: None });
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
    /// Whether any file of a folder is its index (`random_index`).
    pub random: bool,
    /// How a folder without index is listed (`autoindex`).
    pub list: Option<autoindex::List>,
}

impl Files {
    /// Answers with the file that the path names, or leads to a folder's index.
    pub fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        if !matches!(ex.method, Method::Get | Method::Head | Method::Post) {
            return Err(Stop::Status(405));
        }
        check_alias(ex)?;
        if !ex.uri.ends_with(b"/") {
            return file(ex);
        }
        if self.random {
            crate::modules::random_index::choose(ex)?;
        }
        self.index(ex)?;
        if let Some(list) = &self.list
            && ex.method != Method::Post
        {
            return list.run(ex);
        }
        let folder = map_to_path(ex, &ex.uri);
        let folder = as_path(&folder).display();
        ex.log(Level::Error, format_args!("directory index of \"{folder}\" is forbidden"));
        Err(Stop::Status(403))
    }
}

fn file(ex: &mut Exchange<'_>) -> Result<Body, Stop> {
    let path = map_to_path(ex, &ex.uri);
    let path = as_path(&path);
    let opened = open_file(ex, path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|error| {
        let (status, level) = refusal(&error);
        if status != 404 || ex.plan.core.log_not_found {
            let (path, error) = (path.display(), system_error(&error));
            ex.log(level, format_args!("open() \"{path}\" failed {error}"));
        }
        Stop::Status(status)
    })?;
    if metadata.is_dir() {
        return Err(add_slash(ex));
    }
    if !metadata.is_file() {
        ex.log(Level::Crit, format_args!("\"{}\" is not a regular file", path.display()));
        return Err(Stop::Status(404));
    }
    if ex.method == Method::Post {
        return Err(Stop::Status(405));
    }
    let length = metadata.len();
    ex.response.status = 200;
    ex.response.content_length = Some(length);
    ex.response.last_modified = Some(metadata.mtime());
    ex.response.allow_ranges = true;
    if ex.plan.core.etag {
        let etag = format!("\"{:x}-{length:x}\"", metadata.mtime());
        ex.response.fields.set("ETag", etag.as_bytes());
    }
    set_type_of_path(ex);
    if length == 0 {
        return Ok(Body::Empty);
    }
    Ok(Body::File(FilePart { file: Arc::new(file), offset: 0, length }))
}

/// A folder's path ends with a slash: the client is told so.
fn add_slash(ex: &mut Exchange<'_>) -> Stop {
    let mut target = Vec::with_capacity(ex.uri.len() + ex.args.len() + 2);
    wire::uri::escape(wire::uri::Escape::Uri, &ex.uri, &mut target);
    target.push(b'/');
    if !ex.args.is_empty() {
        target.push(b'?');
        target.extend_from_slice(&ex.args);
    }
    ex.response.fields.set("Location", &target);
    Stop::Status(301)
}
