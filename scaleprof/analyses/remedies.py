"""What to try for each finding, in words and code that can be pasted."""

REMEDIES = {
    "starved": "DataLoader(..., num_workers=8, prefetch_factor=4, persistent_workers=True, pin_memory=True); decode less in the loop; faster storage",
    "host-sync": "No .item(), .cpu(), print(loss) or `if tensor:` in the loop; log every 50 steps. torch.cuda.set_sync_debug_mode('warn') finds them",
    "launch-bound": "torch.compile(model, mode='reduce-overhead') for CUDA graphs, a larger batch, optimizers with fused=True or foreach=True.",
    "allocation": "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True; fixed shapes, some memory left free, no torch.cuda.empty_cache() in the loop.",
    "compilation": "Warm up first; fix shapes, or torch._dynamo.mark_dynamic(tensor, dim); TORCH_LOGS=recompiles says why it compiles again.",
    "collection": "gc.disable() before the loop, gc.collect() every 1000 steps in the same step on all ranks; gc.freeze() after setting up.",
    "checkpoint": "torch.distributed.checkpoint.async_save(...) copies and lets the training go on; write less often.",
    "exposed-transfer": "DDP(..., bucket_cap_mb=..., gradient_as_bucket_view=True), fully_shard with set_modules_to_forward_prefetch, a larger local "
    "batch; torch.distributed.algorithms.ddp_comm_hooks.default_hooks.bf16_compress_hook halves the bytes.",
    "exposed-copies": "DataLoader(pin_memory=True) and batch.to(device, non_blocking=True) on a stream of its own, one batch ahead.",
    "transient-imbalance": "Sort or bucket samples by length, pack sequences, or sample so that every rank gets as many tokens in each step.",
    "stage-imbalance": "Give this stage fewer layers; embedding and loss count as layers. Interleaved schedules even out what is left.",
    "bubble": "More micro-batches, an interleaved schedule (ScheduleInterleaved1F1B), or a zero-bubble one (ScheduleInterleavedZeroBubble).",
    "late-compute": "Compare its kernels with another rank's at level full: the same ones slower is the machine, more of them is the work.",
    "late-slower kernels": "Look at clocks, power cap, heat and neighbours of this device (nvidia-smi -q -d PERFORMANCE,CLOCK); swap the node.",
    "late-comm": "Look at the group it waited in: its own last rank is the one to cure.",
    "late-idle": "Look at what this host does besides (other processes, logging, Python work between steps); pin its cores.",
    "late": "Swap the host, or give the rank's work to another: the cause goes with the machine, or stays with the work.",
    "distortion": "Shorter windows, no stacks and no shapes; take shares of idle time from level timeline.",
}
