"""Classifies the arguments of `vllm.EngineArgs` by whether they may change a model's output.

Arguments that may change text enter the config hash of captions. So do arguments in neither table,
which a newer vLLM may have. Arguments that only concern scheduling, placement, storage or logging
do not, although they alter the order of floating-point sums, as another GPU or batch does. The
engine's own seed has no effect, since each request has a seed.
"""

from collections.abc import Mapping
from typing import Any

_KEEPS = {
    "Scheduling": """
        async_scheduling disable_chunked_mm_input disable_hybrid_kv_cache_manager
        enable_chunked_prefill long_prefill_token_threshold long_prefill_token_threshold_adaptive
        max_model_len max_num_active_seqs max_num_batched_tokens max_num_queued_reqs
        max_num_queued_tokens max_num_scheduled_tokens max_num_seqs performance_mode
        prefill_schedule_interval scheduler_cls scheduler_reserve_full_isl scheduling_policy seed
        stream_interval watermark
    """,
    "Memory and caches": """
        block_size cpu_offload_gb cpu_offload_params enable_cumem_allocator enable_prefix_caching
        enable_shm_tensor_arena enable_sleep_mode gpu_memory_utilization kv_cache_memory_bytes
        kv_offloading_backend kv_offloading_size kv_transfer_config ec_manager_config
        ec_transfer_config enable_mamba_shared_prefix_checkpoint mamba_block_size mamba_cache_mode
        mm_hasher_algorithm mm_ipc_gpu_memory_gb mm_processor_cache_gb mm_processor_cache_type
        mm_shm_cache_max_object_size_mb mm_tensor_ipc num_gpu_blocks_override offload_backend
        offload_group_size offload_num_in_group offload_params offload_prefetch_step
        prefix_cache_retention_interval prefix_caching_hash_algo prefix_match_unit
        sleep_mode_offload_cudagraph sleep_preserve_parameter_names
    """,
    "Machines, processes and their parts of the work": """
        _api_process_count _api_process_rank all2all_backend cp_kv_cache_interleave_size
        cpu_distributed_timeout_seconds data_parallel_address data_parallel_backend
        data_parallel_external_lb data_parallel_hybrid_lb data_parallel_multi_port_external_lb
        data_parallel_rank data_parallel_rpc_port data_parallel_size data_parallel_size_local
        data_parallel_start_rank dbo_decode_token_threshold dbo_prefill_token_threshold
        dcp_comm_backend dcp_kv_cache_interleave_size dcp_q_replicate decode_context_parallel_size
        device_ids disable_custom_all_reduce disable_nccl_for_dp_synchronization
        distributed_executor_backend distributed_timeout_seconds dp_sync_interval
        enable_batch_sharded_sampling enable_dbo enable_elastic_ep enable_ep_weight_filter
        enable_eplb enable_expert_parallel enable_fault_tolerance enable_hc_sp
        enable_nccl_comm_suspend eplb_config expert_placement_strategy fault_tolerance_config
        elastic_ep_max_dp_size fully_sharded_loras master_addr master_port
        max_parallel_loading_workers mm_encoder_tp_mode mm_processor_device nnodes node_rank
        numa_bind numa_bind_cpus numa_bind_nodes pipeline_parallel_size
        prefill_context_parallel_size renderer_num_workers shutdown_timeout tensor_parallel_size
        ubatch_size
    """,
    "Kernels and their compilation": """
        attention_backend compilation_config cudagraph_capture_sizes disable_cascade_attn
        enable_flashinfer_autotune enforce_eager gdn_prefill_backend ir_op_priority jit_monitor_mode
        jit_monitor_verbose kda_decode_backend kda_prefill_backend kernel_config linear_backend
        mamba_backend mamba_ssu_algorithm max_cudagraph_capture_size mm_encoder_attn_backend
        moe_backend optimization_level sparse_indexer_topk_backend
    """,
    "Where files come from and go to; what is logged, counted and traced": """
        aggregate_engine_logging allowed_local_media_path allowed_media_domains
        collect_detailed_traces cudagraph_metrics custom_histogram_buckets disable_log_stats
        download_dir enable_layerwise_nvtx_tracing enable_logging_iteration_details
        enable_mfu_metrics enable_mm_processor_stats enable_return_routed_experts
        enable_trace_replay fail_on_environ_validation hf_token kv_cache_metrics
        kv_cache_metrics_sample kv_events_config limit_mm_per_prompt log_config_file log_level
        logging_config logprobs_mode max_logprobs max_lora_cls_labels otlp_traces_endpoint
        per_request_spec_decode_metrics profiler_config pt_load_map_location ray_workers_use_nsight
        return_sampling_mask safetensors_load_strategy safetensors_prefetch_block_size
        safetensors_prefetch_num_threads served_model_name show_hidden_metrics_for_version
        skip_mm_profiling use_tqdm_on_load weight_transfer_config
    """,
    "Videos, which there are none of": "video_pruning_method video_pruning_rate",
}
_CHANGES = {
    "The model, its files and its configuration": """
        code_revision config_format convert diffusion_config engram_config hf_config_path
        hf_overrides ignore_patterns language_model_only load_format mm_encoder_only model
        model_class_overrides model_impl model_loader_extra_config model_weights pooler_config
        revision runner tokenizer tokenizer_mode tokenizer_revision trust_remote_code worker_cls
        worker_extension_cls
    """,
    "Precision": """
        allow_deprecated_quantization attention_config dtype enable_mamba_cache_stochastic_rounding
        kv_cache_dtype kv_cache_dtype_skip_layers lora_dtype mamba_cache_dtype
        mamba_cache_philox_rounds mamba_config mamba_ssm_cache_dtype mm_encoder_attn_dtype
        mm_encoder_fp8_scale_path mm_encoder_fp8_scale_save_margin mm_encoder_fp8_scale_save_path
        quantization quantization_config
    """,
    "What the model reads, and how its answer is drawn and read": """
        additional_config aux_output_config default_mm_loras disable_sliding_window enable_lora
        enable_mixed_moe_lora_format enable_mm_embeds enable_moe_shared_loras enable_prompt_embeds
        enable_tower_connector_lora generation_config interleave_mm_strings io_processor_plugin
        kv_sharing_fast_prefill logits_processors lora_target_modules max_cpu_loras max_lora_rank
        max_loras media_io_kwargs mm_device_do_normalize mm_processor_kwargs
        override_generation_config reasoning_config reasoning_parser reasoning_parser_plugin
        replayssm_buffer_len skip_tokenizer_init spec_method spec_model spec_tokens
        specialize_active_lora speculative_config structured_outputs_config swa_bounded_replay
        tokens_only use_fp64_gumbel use_replayssm watermark_config
    """,
}
KEEPS_TEXT = frozenset(name for names in _KEEPS.values() for name in names.split())
# Listed so that a test finds new arguments of vLLM that are not classified yet.
CHANGES_TEXT = frozenset(name for names in _CHANGES.values() for name in names.split())


def changing_text(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that may change text, including unknown ones."""
    return {name: value for name, value in arguments.items() if name not in KEEPS_TEXT}
