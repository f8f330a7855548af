# The two commands: `make up` builds and starts the platform, `make test` checks and tests everything.

# Arguments for the platform, for example: make up ARGS="--http 127.0.0.1:9090 --data-dir /srv/astrocloud"
ARGS ?=
# Not empty: Kafka over TLS, with OpenSSL of the system (Debian: libssl-dev, pkg-config).
KAFKA_TLS ?=

.PHONY: up build test fmt help

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

up: build ## Build the release binary and start the whole platform (state in ./data)
	@exec "$$(deploy/local/target.sh)/release/astrocloud" up $(ARGS)

build: ## Build the release binary
	@deploy/local/check.sh
	@. deploy/local/cmake.sh && cargo build --release --locked -p astrocloud $(if $(KAFKA_TLS),--features kafka-tls)

test: ## Install what the tests need, then format, lint, dependency checks and every test
	@deploy/local/test.sh

fmt: ## Format all code
	@cargo fmt --all
