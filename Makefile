# minio-sidecar. Everything that takes more than a line lives in hack/.

.DEFAULT_GOAL := help
.PHONY: help build test demo lint images push e2e chaos bench bench-scale scale cluster-up cluster-down manifests clean

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/minio-sidecar/minio-sidecar/pkg/version.version=$(VERSION)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

build: ## Build the programs into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

test: ## Run every test that needs no cluster, on real parts (PKG=./syncer/... for some)
	hack/check/test $(or $(PKG),./...)

demo: build ## Watch a volume follow its pod from one node to another, on this machine alone
	go run ./hack/demo

lint: ## Check style, import rules and the chart
	hack/check/lint

images: ## Build the two images (docker or buildah)
	hack/images/build

push: ## Push them to REGISTRY=registry.example.com/team, one tag for all platforms
	REGISTRY='$(REGISTRY)' VERSION='$(VERSION)' hack/images/push

e2e: ## Run the tests on a real cluster: KUBECONFIG's if set, else one of our own
	hack/e2e/run

chaos: ## Try to break the promises for DURATION=5m, from SEED= or a fresh one
	hack/chaos/run '$(or $(DURATION),5m)' '$(SEED)'

bench: build ## Measure against mc, rclone and s5cmd; rewrites docs/benchmarks.md
	go run ./hack/bench -out docs/benchmarks.md

bench-scale: build ## Measure up to a million files; rewrites docs/benchmarks-scale.md
	go run ./hack/bench scale -out docs/benchmarks-scale.md

scale: build ## Check that memory and CPU time stay in proportion to the files, some minutes
	go run ./hack/bench scale -check -timeout 15m

cluster-up: ## Start two Kubernetes nodes on this machine (root)
	hack/cluster/up

cluster-down: ## Stop them
	hack/cluster/down

manifests: ## Render the chart into dist/ for installing without Helm
	mkdir -p dist
	$$(hack/tools/get helm) template minio-sidecar charts/minio-sidecar --namespace minio-sidecar --skip-tests > dist/minio-sidecar.yaml

clean: ## Remove what was built here (the cache of real parts stays)
	rm -rf bin dist
