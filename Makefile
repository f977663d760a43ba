# Every target says what it does: make help.
.DEFAULT_GOAL := help
.PHONY: help cluster cluster-down cluster-status images plugin demo test compat evidence wire bench-shared bench-http generate

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

cluster: ## a Kubernetes cluster for this checkout (WORKERS=n adds nodes, CLUSTER=kind-docker|kind-podman|kind-offline|existing)
	@WORKERS=$(WORKERS) tests/cluster/up

cluster-down: ## remove this checkout's cluster
	@tests/cluster/down

cluster-status: ## what runs in it
	@tests/cluster/status

images: ## build the operator's and the primary's image and load them into the cluster
	@tests/cluster/load operator primary

plugin: ## build kubectl-wc, one static program, for `kubectl wc …`
	@RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target "$$(rustc -vV | sed -n 's/^host: //p')" --package cli
	@file="$${CARGO_TARGET_DIR:-target}/$$(rustc -vV | sed -n 's/^host: //p')/release/kubectl-wc"; echo "$$file"; echo "to use it as \`kubectl wc\`: install $$file into a folder of your PATH"

demo: ## from a bare machine to a working example: cluster, operator, a Node cluster program (KEEP=1 leaves it running)
	@tests/demo

test: ## unit and property tests, then end-to-end tests on a real cluster (TEST=name runs only those)
	@tests/run $(TEST)

compat: ## real programs of Node 18 to 26 and others under the primary, a table of what works: docs/compat.md (PROGRAM=name runs only that)
	@tests/compat/run $(PROGRAM)

evidence: ## what takes too long for every test: LINE=3.10 runs it and keeps its figures in docs/evidence; without LINE says what holds
	@tests/evidence $(LINE)

wire: ## HTTP byte by byte through `primary --balancing queue`, haproxy and nginx, a table of what reaches a worker: docs/wire.md (CASE=name runs only that)
	@tests/wire/run $(CASE)

bench-shared: ## the primary beside Node's cluster module, PM2 and Python's servers, to target/bench (ROUNDS=n, SECONDS_EACH=n, PART=crash for one part)
	@tests/bench/run $(PART)

bench-http: ## Queue beside haproxy, nginx, Node's cluster module and PM2, to target/bench (ROUNDS=n, SECONDS_EACH=n, PART=http-mixed for one part)
	@tests/bench/run $(or $(PART),http-throughput http-mixed http-many http-idle http-memory http-losses)

generate: ## write the CRD, the chart's copies and the RBAC rules from the Rust types
	@.ci/generate
