//! `ngx_http_autoindex_module`: lists a folder that has no index.

mod list;

pub use list::escape_html;

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use conf::Arg::{Choice, Flag};
use nix::errno::Errno;

use crate::body::Body;
use crate::compile::as_path;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::module::Module;
use crate::modules::static_files::{map_to_path, refusal, set_content_type};
use crate::plan::Content;
use crate::run::Stop;
use crate::{directives, settings};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_autoindex_module",
    directives: directives! { ListSettings;
        /// Answers a folder's path with a list of what is in it, where it has no index; names that start with a dot
        /// are left out.
        "autoindex" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| conf::once(&mut c.on, n.flag(0)?, n);
        /// Shows sizes in bytes, rather than rounded to K, M and G.
        "autoindex_exact_size" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| conf::once(&mut c.exact_size, n.flag(0)?, n);
        /// Shows times in the machine's time zone rather than in UTC.
        "autoindex_localtime" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| conf::once(&mut c.local_time, n.flag(0)?, n);
        /// What the list is written in.
        "autoindex_format" in [HTTP SERVER LOCATION] (Choice(&["html", "xml", "json", "jsonp"])) = "html" => |c, _, n| {
            let formats =
                [("html", Format::Html), ("xml", Format::Xml), ("json", Format::Json), ("jsonp", Format::Jsonp)];
            conf::once(&mut c.format, n.choice(0, &formats)?, n)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        let list = scope.get_mut::<ListSettings>().settle();
        if list.on
            && let Content::Files(files) = &mut plan.content
        {
            files.list = Some(list);
        }
        Ok(())
    },
};

/// What a list is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A page.
    Html,
    /// XML.
    Xml,
    /// JSON.
    Json,
    /// JSON as the argument of the function that `?callback=` names.
    Jsonp,
}

settings! {
    /// How folders are listed.
    ListSettings => List {
        /// Whether they are.
        on: bool = false;
        /// Whether sizes are shown in bytes.
        exact_size: bool = true;
        /// Whether times are the machine's.
        local_time: bool = false;
        /// What it is written in.
        format: Format = Format::Html;
    }
}

/// One name in a folder.
struct Entry {
    name: Vec<u8>,
    kind: Kind,
    /// Seconds since 1970.
    modified: u64,
    size: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Directory,
    File,
    Other,
}

impl List {
    /// Answers with the list of the folder that the path names.
    pub fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let callback = if self.format == Format::Jsonp { callback(ex)? } else { None };
        let path = map_to_path(ex, &ex.uri);
        let folder = as_path(path.strip_suffix(b"/").filter(|p| !p.is_empty()).unwrap_or(&path));
        let entries = entries(ex, folder)?;
        let (media_type, text): (&[u8], _) = match (self.format, callback) {
            (Format::Html, _) => (b"text/html", list::html(self, &ex.uri, &entries)),
            (Format::Xml, _) => (b"text/xml; charset=utf-8", list::xml(&entries)),
            (Format::Jsonp, Some(callback)) => (b"application/javascript", list::jsonp(&callback, &entries)),
            (Format::Json | Format::Jsonp, _) => (b"application/json", list::json(&entries)),
        };
        ex.response.status = 200;
        ex.response.content_length = None;
        set_content_type(ex, media_type);
        Ok(Body::Bytes(text))
    }
}

/// The function that a JSONP list is handed to.
fn callback(ex: &Exchange<'_>) -> Result<Option<Vec<u8>>, Stop> {
    let Some(name) = wire::uri::arg(&ex.args, b"callback").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let wrong = if name.len() > 128 {
        "too long"
    } else if !name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')) {
        "invalid"
    } else {
        return Ok(Some(name.to_vec()));
    };
    let name = String::from_utf8_lossy(name);
    ex.log(Level::Info, format_args!("client sent {wrong} callback name: \"{name}\""));
    Err(Stop::Status(400))
}

/// What is in a folder: folders first, then by name.
fn entries(ex: &Exchange<'_>, folder: &Path) -> Result<Vec<Entry>, Stop> {
    let shown = folder.display();
    let names = folder.read_dir().map_err(|error| {
        let (status, level) = refusal(&error);
        ex.log(level, format_args!("opendir() \"{shown}\" failed {}", system_error(&error)));
        Stop::Status(status)
    })?;
    let mut entries = Vec::new();
    for name in names {
        let name = name.map_err(|error| {
            ex.log(Level::Crit, format_args!("readdir() \"{shown}\" failed {}", system_error(&error)));
            Stop::Status(500)
        })?;
        let file_name = name.file_name();
        if file_name.as_bytes().starts_with(b".") {
            continue;
        }
        if let Some(metadata) = metadata(ex, &name.path())? {
            entries.push(Entry::of(file_name.as_bytes(), &metadata));
        }
    }
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| entry.kind != Kind::Directory;
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    Ok(entries)
}

/// Through links where they lead anywhere; `None` for what may not be looked at.
fn metadata(ex: &Exchange<'_>, path: &Path) -> Result<Option<Metadata>, Stop> {
    let error = match path.metadata() {
        Ok(metadata) => return Ok(Some(metadata)),
        Err(error) => error,
    };
    let followed = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    if !matches!(followed, Errno::ENOENT | Errno::ELOOP) {
        let shown = path.display();
        ex.log(Level::Crit, format_args!("stat() \"{shown}\" failed {}", system_error(&error)));
        return if followed == Errno::EACCES { Ok(None) } else { Err(Stop::Status(500)) };
    }
    path.symlink_metadata().map(Some).map_err(|error| {
        let shown = path.display();
        ex.log(Level::Crit, format_args!("lstat() \"{shown}\" failed {}", system_error(&error)));
        Stop::Status(500)
    })
}

impl Entry {
    fn of(name: &[u8], metadata: &Metadata) -> Entry {
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_file() => Kind::File,
            _ => Kind::Other,
        };
        let modified = u64::try_from(metadata.mtime()).unwrap_or(0);
        Entry { name: name.to_vec(), kind, modified, size: metadata.len() }
    }
}
