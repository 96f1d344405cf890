"""What generators write, in the form that they publish: (writer, place, {field: text}). To add a writer, add a row."""

from __future__ import annotations

import json

UUID = "01234567-89ab-cdef-0123-456789abcdef"
# stable-diffusion-webui, modules/images.py and modules/processing.py create_infotext
WEBUI = "a red fox\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
# ComfyUI, nodes.py SaveImage: the graph in the forms of the API and of the editor
COMFY_PROMPT = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20}}})
COMFY_WORKFLOW = json.dumps({"last_node_id": 9, "nodes": [{"id": 3, "type": "KSampler"}], "links": []})
# easydiffusion, ui/easydiffusion/utils/save_utils.py get_printable_request, TASK_TEXT_MAPPING
EASY = {"prompt": "a red fox", "negative_prompt": "blurry", "seed": "1", "use_stable_diffusion_model": "sd-v1-5",
        "sampler_name": "euler_a", "num_inference_steps": "25", "guidance_scale": "7.5"}
EASY_TEXT = {"Prompt": "a red fox", "Negative Prompt": "blurry", "Seed": "1", "Stable Diffusion model": "sd-v1-5",
             "Sampler": "euler_a", "Steps": "25", "Guidance Scale": "7.5"}
# Draw Things, XMP of its PNGs, as its readers document it
DRAW_THINGS = json.dumps({"c": "a red fox", "model": "flux_1_schnell_q8p.ckpt", "sampler": "Euler A", "scale": 4.5,
                          "seed": 1, "size": "512x512", "steps": 8, "strength": 1, "uc": "", "v2": {"loras": []}})
# xAI: a signature in base64, and the UUID of the image
GROK = "Signature: " + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g" * 8

FORMS: list[tuple[str, str, dict[str, str]]] = [
    ("Stable Diffusion WebUI", "text", {"parameters": WEBUI}),
    ("Stable Diffusion WebUI", "EXIF", {"UserComment": WEBUI}),
    ("Stable Diffusion WebUI", "comment", {"": WEBUI}),  # modules/images.py _atomically_save_image, GIF
    ("ComfyUI", "text", {"prompt": COMFY_PROMPT, "workflow": COMFY_WORKFLOW}),
    ("ComfyUI", "text", {"workflow": COMFY_WORKFLOW}),
    # comfy_api/latest/_ui.py: WebP has the graph in Model, the other texts from Make downwards
    ("ComfyUI", "EXIF", {"Make": "workflow:" + COMFY_WORKFLOW, "Model": "prompt:" + COMFY_PROMPT}),
    ("ComfyUI", "EXIF", {"UserComment": COMFY_WORKFLOW}),
    ("ComfyUI", "EXIF", {"ImageDescription": "Workflow:" + COMFY_WORKFLOW}),
    ("ComfyUI", "comment", {"": COMFY_PROMPT}),
    ("ComfyUI", "XMP", {"dc:description": COMFY_WORKFLOW}),
    # InvokeAI: invokeai_metadata since 3.0, sd-metadata in 2.x, Dream in 1.x
    ("InvokeAI", "text", {"invokeai_metadata": json.dumps({"positive_prompt": "a red fox", "steps": 20})}),
    ("InvokeAI", "text", {"sd-metadata": json.dumps({"model": "stable diffusion", "image": {"prompt": "a fox"}})}),
    ("InvokeAI", "text", {"Dream": '"a red fox" -s 50 -S 1 -W 512 -H 512 -C 7.5 -A k_lms'}),
    # NovelAI: PNG text; EXIF of its WebP
    ("NovelAI", "text", {"Title": "NovelAI generated image", "Software": "NovelAI", "Comment": '{"steps": 28}'}),
    ("NovelAI", "text", {"Comment": json.dumps({"uc": "lowres", "steps": 28, "signed_hash": "x"})}),
    ("NovelAI", "EXIF", {"Software": "NovelAI Diffusion V4.5"}),
    ("Midjourney", "text", {"Description": f"a red fox --v 5 Job ID: {UUID}"}),
    ("Midjourney", "XMP", {"dc:description": f"a red fox --v 6.1 Job ID: {UUID}"}),
    # SwarmUI, T2IParamInput.GenRawMetadata; JPEG as UserComment
    ("SwarmUI", "text", {"parameters": json.dumps({"sui_image_params": {"prompt": "a fox"}})}),
    ("SwarmUI", "EXIF", {"UserComment": json.dumps({"sui_image_params": {"prompt": "a fox"}})}),
    # Fooocus, modules/private_logger.py and modules/meta_parser.py get_exif
    ("Fooocus", "text", {"parameters": "{}", "fooocus_scheme": "fooocus"}),
    ("Fooocus", "EXIF", {"Software": "Fooocus v2.5.5", "UserComment": "{}"}),
    # Easy Diffusion: sdkit, utils/file_utils.py save_dicts: PNG text in two forms of the keys, UserComment elsewhere
    ("Easy Diffusion", "text", EASY),
    ("Easy Diffusion", "text", EASY_TEXT),
    ("Easy Diffusion", "EXIF", {"UserComment": json.dumps(EASY)}),
    ("Easy Diffusion", "EXIF", {"UserComment": json.dumps(EASY_TEXT)}),
    ("Draw Things", "XMP", {"xmp:CreatorTool": "Draw Things"}),
    ("Draw Things", "XMP", {"exif:UserComment": DRAW_THINGS}),
    ("Draw Things", "EXIF", {"UserComment": DRAW_THINGS}),
    ("Grok", "EXIF", {"ImageDescription": GROK, "Artist": UUID}),
    # black-forest-labs/flux, src/flux/util.py save_image
    ("FLUX", "EXIF", {"Software": "AI generated;txt2img;flux", "Make": "Black Forest Labs", "Model": "flux-schnell"}),
    # Google: IPTC Credit of Photos' editor and of Imagen, in XMP and IIM
    ("Edited with Google AI", "XMP", {"photoshop:Credit": "Edited with Google AI"}),
    ("Edited with Google AI", "IPTC", {"Credit": "Edited with Google AI"}),
    ("Made with Google AI", "XMP", {"photoshop:Credit": "Made with Google AI"}),
    ("Made with Google AI", "IPTC", {"Credit": "Made with Google AI"}),
    ("Ideogram", "EXIF", {"Make": "Ideogram AI"}),  # remove-ai-watermarks, docs: collected 2026-05-24
    ("Reve", "XMP", {"xmp:CreatorTool": "reve.com"}),
    # names that the services give themselves in their manifests and credit lines
    ("DALL-E", "EXIF", {"Software": "DALL-E 3"}),
    ("OpenAI", "EXIF", {"Software": "gpt-image-1"}),
    ("Sora", "EXIF", {"Software": "Sora 2"}),
    ("Gemini", "EXIF", {"Software": "Gemini 2.5 Flash Image"}),
    ("Imagen", "EXIF", {"Software": "Imagen 4"}),
    ("Adobe Firefly", "EXIF", {"Software": "Adobe Firefly 2"}),
    ("Adobe Firefly", "XMP", {"stEvt:softwareAgent": "Adobe Firefly"}),
    ("Bing Image Creator", "EXIF", {"Software": "Bing Image Creator"}),
    ("Meta AI", "IPTC", {"Credit": "Imagined with AI"}),
    ("Recraft", "EXIF", {"Software": "Recraft V3"}),
    ("Leonardo.Ai", "EXIF", {"Software": "Leonardo.Ai"}),
    ("Seedream", "EXIF", {"Software": "Seedream 4.0"}),
    ("Qwen-Image", "EXIF", {"Software": "Qwen-Image-Edit"}),
    ("Stable Diffusion", "text", {"Source": "Stable Diffusion XL C1E1DE52"}),
    ("an unnamed generator", "IPTC", {"By-line": "Generated with AI"}),
]

LABEL = json.dumps({"Label": "1", "ContentProducer": "demo", "ProduceID": "1", "ReservedCode1": "",
                    "ContentPropagator": "demo", "PropagateID": "1", "ReservedCode2": ""})
TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
DECLARATIONS: list[tuple[str, str, dict[str, str]]] = [
    # IPTC Photo Metadata 2025.1, Digital Source Type
    ("trainedAlgorithmicMedia", "XMP", {"Iptc4xmpExt:DigitalSourceType": TYPE}),
    # GB 45438-2025 appendix E; TC260-PG-20258A: XMP, PNG text, UserComment
    ("AIGC label", "XMP", {"TC260:AIGC": LABEL}),
    ("AIGC label", "text", {"AIGC": LABEL}),
    ("AIGC label", "EXIF", {"UserComment": json.dumps({"AIGC": json.loads(LABEL)})}),
    ("AIGC label", "EXIF", {"ImageDescription": json.dumps({"AIGC": json.loads(LABEL)})}),
]
