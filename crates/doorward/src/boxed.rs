//! Large values made where they stay.

use std::pin::Pin;

/// A box for a large value, such as the future of a whole request: room is made first, so that the value can be built in
/// it. `Box::new` builds it on the stack and moves all of it, also the parts that are not in use yet.
#[inline(always)]
pub fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    Box::write(Box::new_uninit(), make())
}

/// The same for a future.
#[inline(always)]
pub fn boxed_future<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(boxed(make))
}
