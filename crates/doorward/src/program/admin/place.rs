//! Where the store is: what `--store` says, or the one `auth_store` of the configuration.

use auth::store::Address;
use conf::{Disk, Node, Word};

use super::command::Given;
use crate::product;
use crate::program::flags::Flags;

/// The store's address.
pub fn find(flags: &Flags, given: &Given) -> Result<Address, String> {
    if let Some(store) = &given.store {
        let address = Address::parse(store).map_err(|error| error.to_string())?;
        if address.has_password() {
            return Err("a password on the command line can be seen by everyone on the machine: put the address into a \
                        configuration, as http { auth_service NAME { auth_store ADDRESS; } }, and name that by -c"
                .into());
        }
        return Ok(address);
    }
    let path = match &given.configuration {
        Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
        None => flags.configuration(),
    };
    let (tree, faults) = conf::load_leniently(&path, &mut Disk);
    let mut found = Vec::new();
    collect(&tree.nodes, &mut found);
    let shown = path.display();
    // The same service may be included in several places.
    match (found.as_slice(), faults.first()) {
        ([None], _) => Ok(Address::Sqlite(match flags.prefix {
            Some(_) => flags.prefix().join(product::AUTH_STORE.under_prefix),
            None => product::AUTH_STORE.packaged.into(),
        })),
        ([Some(one)], _) => {
            let text =
                str::from_utf8(&one.text).map_err(|_| format!("auth_store in {shown} is not UTF-8"))?;
            let address = Address::parse(text).map_err(|error| format!("auth_store in {shown}: {error}"))?;
            Ok(address.under(&flags.prefix()))
        }
        ([], Some(fault)) => {
            Err(format!("{}; say where the store is by --store", fault.plain(&tree.sources)))
        }
        ([], None) => Err(format!("{shown} has no auth_store: say where the store is by --store")),
        (_, _) => Err(format!("{shown} has several auth_store: say which by --store")),
    }
}

/// Adds the different stores of these directives and their blocks; none for a service that uses one and names none.
fn collect<'n>(nodes: &'n [Node], found: &mut Vec<Option<&'n Word>>) {
    let is = |node: &Node, name: &str| *node.name.text == *name.as_bytes();
    for node in nodes {
        let inside = node.block.as_deref().unwrap_or_default();
        let has = |name: &str| inside.iter().any(|node| is(node, name));
        // Parameters may follow the address.
        let named = node.args.first().filter(|_| is(node, "auth_store"));
        let uses_unnamed = is(node, "auth_service")
            && !has("auth_store")
            && ["auth_api_key", "auth_session", "auth_basic"].into_iter().any(has);
        let text = |word: &Option<&Word>| word.map(|word| word.text.clone());
        if (named.is_some() || uses_unnamed) && !found.iter().any(|known| text(known) == text(&named)) {
            found.push(named);
        }
        collect(inside, found);
    }
}
