# What people do with this repository; each target installs what it needs first (tools/bootstrap).

.PHONY: demo test torture bench fmt lint bootstrap build

demo: bootstrap ## the whole story on this machine, in ten steps
	cargo build --locked --release --bin strongroom
	demo/demo.sh

test: ## every test
	tools/bootstrap test
	tools/test

torture: bootstrap ## crash and property tests with many more seeds, for an hour or so
	tools/torture

bench: bootstrap ## the volume beside plain ext4, KMS calls beside a bare HTTP server
	tools/bench

build: bootstrap ## the binary, in target/release
	cargo build --locked --release --bin strongroom

fmt: ## format the code
	cargo fmt --all

lint: ## format check and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

bootstrap:
	tools/bootstrap
