//! Where a location keeps answers: in a cache, or as files (`proxy_store`), never both.

use conf::Arg::{Optional, Text};
use conf::once;

use super::Named;
use crate::directives;
use crate::module::{Module, Settings};
use crate::modules::store::{self, Place};
use crate::variables::Template;

/// What a block says of it.
#[derive(Clone, Default)]
pub struct PlaceSettings {
    /// The cache; `Some(None)` where it is off.
    pub cache: Option<Option<Named>>,
    /// The files; `Some(None)` where that is off.
    pub store: Option<Option<Place>>,
    /// The rights of the files.
    pub access: Option<u32>,
}

impl PlaceSettings {
    fn caches(&self) -> bool {
        matches!(self.cache, Some(Some(_)))
    }

    fn stores(&self) -> bool {
        matches!(self.store, Some(Some(_)))
    }
}

impl Settings for PlaceSettings {
    fn inherit(&mut self, outer: &Self) {
        let (caches, stores) = (self.caches(), self.stores());
        // The one that is chosen here takes the place of the other one chosen around.
        if self.cache.is_none() && !stores {
            self.cache.clone_from(&outer.cache);
        }
        if self.store.is_none() && !caches {
            self.store.clone_from(&outer.store);
        }
        self.access = self.access.or(outer.access);
    }
}

/// The directives.
pub static MODULE: Module = Module {
    name: "ngx_http_proxy_module",
    directives: directives! { PlaceSettings;
        /// Stores answers in the cache of that name, which may be made of variables.
        "proxy_cache" in [HTTP SERVER LOCATION] (Text("zone | off")) = "off" => |c, cx, n| {
            let word = n.word(0)?;
            let cache = if word.text == b"off" {
                None
            } else if word.text.contains(&b'$') {
                Some(Named::Variable(Template::compile(word, &mut cx.variables)?))
            } else {
                Some(Named::Zone(n.str(0)?.to_owned(), word.span))
            };
            if cache.is_some() && c.stores() {
                return Err(n.complaint("is incompatible with \"proxy_store\""));
            }
            once(&mut c.cache, cache, n)
        };
        /// Stores answers as files: with `on` where `root` or `alias` looks for the path, otherwise at the path given,
        /// which may be made of variables. Only whole answers with 200, also when the client has gone, but not those
        /// to HEAD, nor unbuffered ones; `Last-Modified` becomes the time of the file. The file is written in
        /// `proxy_temp_path` and then renamed, which is cheap only within one file system. Nothing is removed, and nothing
        /// is served from here: for that there are `root`, `try_files` and `error_page 404`.
        "proxy_store" in [HTTP SERVER LOCATION] (Text("on | off | string")) = "off" => |c, cx, n| {
            let place = store::place(n, cx)?;
            if place.is_some() && c.caches() {
                return Err(n.complaint("is incompatible with \"proxy_cache\""));
            }
            once(&mut c.store, place, n)
        };
        /// Who may read (`r`) and write (`rw`) files of `proxy_store`: `user`, `group`, `all`. Folders that are made for
        /// them can be entered by those who may read.
        "proxy_store_access" in [HTTP SERVER LOCATION] (Text("permissions"), Optional(&Text("permissions")), Optional(&Text("permissions"))) = "user:rw" => |c, _, n| {
            let access = store::access(n)?;
            once(&mut c.access, access, n)
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};
