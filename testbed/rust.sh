# shellcheck shell=bash
# The Rust toolchain that rust-toolchain.toml names, with clippy and rustfmt.

ensure_rust() {
  local wanted
  wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$here/../rust-toolchain.toml")
  PATH=$HOME/.cargo/bin:$PATH
  if command -v rustup >/dev/null; then
    # The proxies that rustup puts on PATH follow rust-toolchain.toml by themselves once it is installed.
    rustup toolchain list | grep -q "^$wanted" || step "Rust $wanted" install_toolchain "$wanted"
  elif ! rust_is_new_enough "$wanted"; then
    step "rustup" install_rustup
    step "Rust $wanted" install_toolchain "$wanted"
  fi
}

# A Rust that did not come from rustup is as good, if it is no older.
rust_is_new_enough() {
  local version
  version=$(cargo --version 2>/dev/null | cut -d' ' -f2) && [ -n "$version" ] || return 1
  [ "$(printf '%s\n' "$1" "$version" | sort -V | head -1)" = "$1" ] && command -v cargo-clippy rustfmt >/dev/null
}

# The program that https://sh.rustup.rs would fetch.
install_rustup() {
  local base
  base=https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu
  # Joined by &&: what stands left of || does not stop at the first failure by itself. The checksum's file names a path of where
  # it was made.
  (
    cd "$RUN" &&
      curl --proto '=https' --tlsv1.2 --silent --show-error --fail --max-time 120 --remote-name-all "$base/rustup-init" "$base/rustup-init.sha256" &&
      echo "$(cut -d' ' -f1 rustup-init.sha256)  rustup-init" | sha256sum --check --quiet &&
      chmod +x rustup-init &&
      ./rustup-init -y --quiet --no-modify-path --profile minimal --default-toolchain none </dev/null >/dev/null
  ) || fail "rustup could not be installed; see https://rustup.rs"
}

install_toolchain() { rustup toolchain install "$1" --profile minimal --component clippy --component rustfmt --no-self-update </dev/null; }
