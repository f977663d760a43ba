// The pod network of a kind node where kindnetd cannot be pulled: writes this node's CNI configuration and keeps one
// route to the pods of every other node. IPv4, no address translation, since nothing leaves the cluster's network.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"time"
)

const (
	account  = "/var/run/secrets/kubernetes.io/serviceaccount/"
	conflist = "/etc/cni/net.d/10-kindnet.conflist"
	interval = time.Second // a joining node waits for this at most, and one small list per second costs nothing
)

const config = `{"cniVersion":"0.4.0","name":"kindnet","plugins":[
{"type":"ptp","ipMasq":false,"ipam":{"type":"host-local","dataDir":"/run/cni-ipam-state",
"routes":[{"dst":"0.0.0.0/0"}],"ranges":[[{"subnet":"%s"}]]}},
{"type":"portmap","capabilities":{"portMappings":true}}]}`

type node struct {
	Metadata struct{ Name string }
	Spec     struct{ PodCIDR string }
	Status   struct {
		Addresses []struct{ Type, Address string }
	}
}

func (n node) internalIP() string {
	for _, a := range n.Status.Addresses {
		if a.Type == "InternalIP" {
			return a.Address
		}
	}
	return ""
}

func main() {
	ca, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}
	done := map[string]string{} // pod range -> node address
	for ; ; time.Sleep(interval) {
		nodes, err := list(client)
		if err != nil {
			log.Print(err)
			continue
		}
		for _, n := range nodes {
			pods, ip := n.Spec.PodCIDR, n.internalIP()
			if pods == "" || ip == "" || done[pods] == ip {
				continue
			}
			if err := connect(pods, ip); err != nil {
				log.Print(err)
				continue
			}
			done[pods] = ip
			log.Printf("%s: pods %s at %s", n.Metadata.Name, pods, ip)
		}
	}
}

func list(client *http.Client) ([]node, error) {
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodGet, "https://"+os.Getenv("CONTROL_PLANE_ENDPOINT")+"/api/v1/nodes", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("listing nodes: %s", response.Status)
	}
	var answer struct{ Items []node }
	return answer.Items, json.NewDecoder(response.Body).Decode(&answer)
}

func connect(pods, ip string) error {
	if ip == os.Getenv("HOST_IP") {
		// Renamed into place: the kubelet must never read half a file.
		if err := os.WriteFile(conflist+".tmp", fmt.Appendf(nil, config, pods), 0o644); err != nil {
			return err
		}
		return os.Rename(conflist+".tmp", conflist)
	}
	if out, err := exec.Command("ip", "route", "replace", pods, "via", ip).CombinedOutput(); err != nil {
		return fmt.Errorf("route to %s: %w: %s", pods, err, out)
	}
	return nil
}
