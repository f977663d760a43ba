// Rows for the processor time of the autoscaler, from the HorizontalPodAutoscaler's own code (k8s.io/kubernetes v1.36.3).
// Usage: rows SEED ROWS. `generate` beside it builds and runs it.
package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unsafe"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

type fake struct {
	metrics.MetricsClient
	samples metrics.PodMetricsInfo
}

func (f fake) GetResourceMetric(context.Context, v1.ResourceName, string, labels.Selector, string) (metrics.PodMetricsInfo, time.Time, error) {
	return f.samples, time.Time{}, nil
}

// tolerances sets the fields that only the package itself can set.
func tolerances(both float64) podautoscaler.Tolerances {
	var t podautoscaler.Tolerances
	for i := range reflect.TypeOf(t).NumField() {
		field := reflect.ValueOf(&t).Elem().Field(i)
		*(*float64)(unsafe.Pointer(field.UnsafeAddr())) = both
	}
	return t
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.Intn(len(from))] }

func main() {
	seed, _ := strconv.ParseInt(os.Args[1], 10, 64)
	rows, _ := strconv.Atoi(os.Args[2])
	r := rand.New(rand.NewSource(seed))
	for range rows {
		fmt.Println(row(r))
	}
}

func row(r *rand.Rand) string {
	now := time.Now()
	target := pick(r, int32(50), 70, 80, 100, 150, 1+r.Int31n(300))
	count := pick(r, 1, 2, 3, 1+r.Intn(8))
	current := int32(max(1, count+pick(r, 0, 0, 0, -1, 1, 3)))
	calm := r.Intn(3) == 0 // every pod is usable: the clean path
	level := pick(r, 0.2, 0.5, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.5, 3.0) * float64(target) / 100
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	samples := metrics.PodMetricsInfo{}
	var texts []string
	for i := range count {
		name := fmt.Sprintf("p%d", i)
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
		phase := "R"
		if !calm {
			phase = pick(r, "R", "R", "R", "R", "R", "P", "F", "S", "U")
		}
		pod.Status.Phase = map[string]v1.PodPhase{"R": v1.PodRunning, "P": v1.PodPending, "F": v1.PodFailed, "S": v1.PodSucceeded, "U": v1.PodUnknown}[phase]
		deleting := "-"
		if !calm && r.Intn(12) == 0 {
			deleting = "D"
			pod.DeletionTimestamp = &metav1.Time{Time: now}
		}
		// Ages in milliseconds before now. The start is half a second off every edge, because the code reads the clock again.
		startAge := pick(r, 3_600_500, 600_500, 300_500, 299_500, 60_500, 40_500, 5_500)
		start := strconv.Itoa(startAge)
		if !calm && r.Intn(20) == 0 {
			start = "-"
		} else {
			pod.Status.StartTime = &metav1.Time{Time: now.Add(-time.Duration(startAge) * time.Millisecond)}
		}
		changeAge := max(0, startAge-pick(r, 0, 3_000, 29_999, 30_000, 30_001, 200_000, startAge-2_000, startAge-4_000))
		ready, change := "T", strconv.Itoa(changeAge)
		if !calm {
			ready = pick(r, "T", "T", "T", "F", "U", "-")
		} else {
			changeAge = startAge - 1000
			change = strconv.Itoa(changeAge)
		}
		if ready == "-" {
			change = "-"
		} else {
			status := map[string]v1.ConditionStatus{"T": v1.ConditionTrue, "F": v1.ConditionFalse, "U": v1.ConditionUnknown}[ready]
			at := metav1.Time{Time: now.Add(-time.Duration(changeAge) * time.Millisecond)}
			pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: status, LastTransitionTime: at}}
		}
		milli := pick(r, int64(100), 250, 1000, 1+r.Int63n(4000))
		request := strconv.FormatInt(milli, 10)
		container := v1.Container{Name: "worker"}
		if r.Intn(60) == 0 {
			request = "-"
		} else {
			container.Resources.Requests = v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI)}
		}
		pod.Spec.Containers = []v1.Container{container}
		usage, age, window := "-", "-", "-"
		if calm || r.Intn(8) != 0 {
			value := int64(float64(milli) * level * pick(r, 1, 1, 1, 0.8, 1.3, 0))
			sampleAge, sampleWindow := pick(r, 0, 200, 1000, 2000, 4000), pick(r, 1000, 2000, 3000)
			usage, age, window = strconv.FormatInt(value, 10), strconv.Itoa(sampleAge), strconv.Itoa(sampleWindow)
			samples[name] = metrics.PodMetric{
				Timestamp: now.Add(-time.Duration(sampleAge) * time.Millisecond),
				Window:    time.Duration(sampleWindow) * time.Millisecond,
				Value:     value,
			}
		}
		if err := indexer.Add(pod); err != nil {
			panic(err)
		}
		texts = append(texts, strings.Join([]string{phase, deleting, ready, start, change, request, usage, age, window}, ","))
	}
	calculator := podautoscaler.NewReplicaCalculator(fake{samples: samples}, corelisters.NewPodLister(indexer), 5*time.Minute, 30*time.Second)
	replicas, utilization, _, _, err := calculator.GetResourceReplicas(context.Background(), current, target, v1.ResourceCPU, tolerances(0.1), "n", labels.Everything(), "worker")
	answer := fmt.Sprintf("%d %d", replicas, utilization)
	if err != nil {
		answer = "error -"
	}
	return fmt.Sprintf("%d %d %s %s", current, target, answer, strings.Join(texts, " "))
}
