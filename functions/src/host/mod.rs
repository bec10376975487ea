//! The hosts: one file each. They convert and forward; what the product does is decided elsewhere.

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod cloudflare;
#[cfg(any(target_os = "wasi", test))]
mod rs256;
#[cfg(any(target_os = "wasi", test))]
mod seam;
#[cfg(target_os = "wasi")]
mod spin;
