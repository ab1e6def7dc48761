//! What a module says once: its directives, its variables, its settings and how they join a plan.

use std::any::Any;

use conf::{Diagnostic, Node};

use crate::compile::Compiler;
use crate::directives::Verdict;
use crate::plan::Plan;
use crate::variables;

/// Applies one directive to the settings of the block it stands in.
pub type Set = fn(&mut Scope, &mut Compiler, &Node) -> Result<(), Diagnostic>;

/// One row of a module's table.
pub type Directive = conf::Directive<Verdict>;

/// One module: the tables that the compiler, the reference and the engine read.
pub struct Module {
    /// nginx's name of the module, as its documentation spells it.
    pub name: &'static str,
    /// The directives, each declared once.
    pub directives: &'static [Directive],
    /// The variables, each declared once.
    pub variables: &'static [variables::Row],
    /// Adds the module's handlers to the plan of one location, where they are on.
    pub plan: fn(&mut Compiler, &mut Scope, &mut Plan) -> Result<(), Diagnostic>,
}

/// A module's settings at one place.
pub trait Settings: Any + Default {
    /// Takes from the enclosing block what this one leaves unset.
    fn inherit(&mut self, outer: &Self);

    /// The same in an `if` or `limit_except`, which is still its location: who answers there is inherited too.
    fn inherit_inside(&mut self, location: &Self) {
        self.inherit(location);
    }
}

/// Of modules whose directives leave nothing in their block.
impl Settings for () {
    fn inherit(&mut self, (): &Self) {}
}

/// What a scope may do with a part whose type only its module knows.
trait Part: Any {
    fn inherit_from(&mut self, outer: &dyn Any, inside: bool);
    fn copy(&self, inside: bool) -> Box<dyn Part>;
}

impl<C: Settings> Part for C {
    fn inherit_from(&mut self, outer: &dyn Any, inside: bool) {
        match outer.downcast_ref() {
            Some(outer) if inside => self.inherit_inside(outer),
            Some(outer) => self.inherit(outer),
            None => {}
        }
    }
    fn copy(&self, inside: bool) -> Box<dyn Part> {
        // Inheritance into an empty part, so that what is never inherited stays behind.
        let mut part = C::default();
        part.inherit_from(self, inside);
        Box::new(part)
    }
}

/// The settings of one block, one typed part per module that has some there.
#[derive(Default)]
pub struct Scope {
    parts: Vec<Box<dyn Part>>,
}

impl Scope {
    /// The settings of type `C`, made empty when there were none.
    pub fn get_mut<C: Settings>(&mut self) -> &mut C {
        let at = self.parts.iter().position(|p| (&**p as &dyn Any).is::<C>()).unwrap_or_else(|| {
            self.parts.push(Box::new(C::default()));
            self.parts.len() - 1
        });
        (&mut *self.parts[at] as &mut dyn Any)
            .downcast_mut()
            .expect("the part was just found or pushed with this type")
    }

    /// Takes from the enclosing block what this one leaves unset.
    pub fn inherit(&mut self, outer: &Scope) {
        self.inherit_from(outer, false);
    }

    /// The same in an `if` or `limit_except` of a location.
    pub fn inherit_inside(&mut self, location: &Scope) {
        self.inherit_from(location, true);
    }

    fn inherit_from(&mut self, outer: &Scope, inside: bool) {
        for theirs in &outer.parts {
            let theirs: &dyn Any = &**theirs;
            let same = |p: &&mut Box<dyn Part>| (&***p as &dyn Any).type_id() == theirs.type_id();
            if let Some(ours) = self.parts.iter_mut().find(same) {
                ours.inherit_from(theirs, inside);
            }
        }
        for theirs in &outer.parts {
            let id = (&**theirs as &dyn Any).type_id();
            if !self.parts.iter().any(|p| (&**p as &dyn Any).type_id() == id) {
                self.parts.push(theirs.copy(inside));
            }
        }
    }
}

/// Declares a module's directives; the doc comments are the operator's manual.
///
/// `"name" [: Block | Free] in [CONTEXT ...] (arguments) = "default" => |settings, compiler, node| ...;`
#[macro_export]
macro_rules! directives {
    ($settings:ty; $(
        $(#[doc = $doc:literal])+
        $name:literal $(: $shape:ident)? in [$($context:ident)+] ($($arg:expr),* $(,)?) = $default:literal => $set:expr;
    )+) => {
        &[ $( ::conf::Directive {
            name: $name,
            contexts: $crate::directives!(@contexts $($context)+),
            args: &[$($arg),*],
            shape: $crate::directives!(@shape $($shape)?),
            default: $default,
            doc: concat!($($doc, "\n"),+),
            set: $crate::directives::Verdict::Built(|scope, compiler, node| {
                let set: fn(
                    &mut $settings,
                    &mut $crate::compile::Compiler,
                    &::conf::Node,
                ) -> Result<(), ::conf::Diagnostic> = $set;
                set(scope.get_mut::<$settings>(), compiler, node)
            }),
        } ),+ ]
    };
    (@contexts $first:ident $($rest:ident)*) => { ::conf::Contexts::$first$(.or(::conf::Contexts::$rest))* };
    (@shape) => { ::conf::Shape::Simple };
    (@shape $shape:ident) => { ::conf::Shape::$shape };
}

/// Declares a module's settings twice from one list: as written (each may be unset, and is then inherited),
/// and as settled (every value there, defaults filled in).
#[macro_export]
macro_rules! settings {
    ($(#[doc = $doc:literal])* $settings:ident => $settled:ident {
        $( $(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $default:expr; )+
    }) => {
        $(#[doc = $doc])*
        #[doc = "As written: what is unset is inherited."]
        #[derive(Clone, Default)]
        pub struct $settings { $( $(#[doc = $field_doc])+ pub $field: Option<$type>, )+ }

        impl $crate::module::Settings for $settings {
            fn inherit(&mut self, outer: &Self) {
                $( if self.$field.is_none() { self.$field.clone_from(&outer.$field); } )+
            }
        }

        $(#[doc = $doc])*
        #[derive(Clone)]
        pub struct $settled { $( $(#[doc = $field_doc])+ pub $field: $type, )+ }

        impl $settings {
            /// Fills in the defaults.
            pub fn settle(&self) -> $settled {
                $settled { $( $field: self.$field.clone().unwrap_or_else(|| $default), )+ }
            }
        }
    };
}
