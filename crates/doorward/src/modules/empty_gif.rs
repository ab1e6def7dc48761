//! `ngx_http_empty_gif_module`: a picture of one transparent pixel.

use wire::h1::Method;

use crate::body::Body;
use crate::directives;
use crate::exchange::Exchange;
use crate::module::{Module, Settings};
use crate::modules::static_files::set_content_type;
use crate::plan::Content;
use crate::run::Stop;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_empty_gif_module",
    directives: directives! { GifSettings;
        /// Answers with a GIF of one transparent pixel, from memory.
        "empty_gif" in [LOCATION] () = "" => |c, _, _| {
            c.on = true;
            Ok(())
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        if scope.get_mut::<GifSettings>().on {
            plan.content = Content::EmptyGif;
        }
        Ok(())
    },
};

#[derive(Default)]
struct GifSettings {
    on: bool,
}

impl Settings for GifSettings {
    fn inherit(&mut self, _: &Self) {}
    fn inherit_inside(&mut self, location: &Self) {
        self.on |= location.on;
    }
}

/// The picture (GIF89a, 1 by 1, the second of two colours transparent).
const GIF: [u8; 43] =
    *b"GIF89a\x01\x00\x01\x00\x80\x01\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x01\x00\
                         ,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02L\x01\x00;";

/// The picture never changes; its date is nginx's: Mon, 28 Sep 1970 06:00:00 GMT.
const LAST_MODIFIED: i64 = 23_349_600;

/// Answers with the picture.
pub fn run(ex: &mut Exchange<'_>) -> Result<Body, Stop> {
    if !matches!(ex.method, Method::Get | Method::Head) {
        return Err(Stop::Status(405));
    }
    ex.response.status = 200;
    ex.response.content_length = Some(GIF.len() as u64);
    ex.response.last_modified = Some(LAST_MODIFIED);
    set_content_type(ex, b"image/gif");
    Ok(Body::Bytes(GIF.to_vec()))
}
