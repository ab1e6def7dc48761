//! Who is asking: passwords, API keys, sessions, tokens, what they are compared with, and where that is kept. It knows neither
//! nginx.conf nor sockets.

pub mod api_key;
pub mod check;
mod des_crypt;
pub mod directory;
pub mod expected;
pub mod form_token;
pub mod identity;
pub mod introspection;
pub mod json;
pub mod jwt;
pub mod link;
mod md5_crypt;
pub mod password;
pub mod secret;
pub mod session;
pub mod store;
