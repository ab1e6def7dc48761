//! Where the store is: what `--store` says, or the one `auth_store` of the configuration.

use auth::store::Address;
use conf::{Disk, Node, Word};

use super::command::Given;
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
        ([one], _) => {
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

/// Adds the different stores of these directives and their blocks.
fn collect<'n>(nodes: &'n [Node], found: &mut Vec<&'n Word>) {
    for node in nodes {
        // Parameters may follow the address.
        if let (b"auth_store", Some(address)) = (node.name.text.as_slice(), node.args.first())
            && found.iter().all(|known| known.text != address.text)
        {
            found.push(address);
        }
        collect(node.block.as_deref().unwrap_or_default(), found);
    }
}
