//! Who is asking: passwords and what they are compared with. It knows neither nginx.conf nor sockets.

mod des_crypt;
pub mod link;
mod md5_crypt;
pub mod password;
