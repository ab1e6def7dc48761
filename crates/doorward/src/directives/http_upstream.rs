//! Directives of groups of servers.

use conf::Arg::{Optional, Text};

use super::contexts::UPSTREAM;
use super::verdict::SHARED_STATE;
use super::{Row, row};

pub(super) static ROWS: &[Row] =
    &[row("zone", UPSTREAM, &[Text("name"), Optional(&Text("size"))], SHARED_STATE)];
