// Package e2e tests the chart, the images and the programs in them on a real
// cluster with real containers: run it by `make e2e`, which has KUBECONFIG's
// cluster or starts one. Everything in it has the build tag "e2e".
package e2e
