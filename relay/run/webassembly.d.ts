/* What the runner uses of WebAssembly: Node has it all, its types have none of it. */

export type Wasm = typeof WebAssembly;

declare global {
  namespace WebAssembly {
    interface Memory {
      readonly buffer: ArrayBuffer;
    }
    interface Instance {
      readonly exports: Record<string, unknown>;
    }
    interface Module {
      readonly [Symbol.toStringTag]: string;
    }
    interface ExportDescriptor {
      name: string;
      kind: string;
    }
    interface ImportDescriptor extends ExportDescriptor {
      module: string;
    }
    type ModuleImports = Record<string, unknown>;

    const Module: {
      exports(module: Module): ExportDescriptor[];
      imports(module: Module): ImportDescriptor[];
      customSections(module: Module, name: string): ArrayBuffer[];
    };
    function compile(bytes: Uint8Array): Promise<Module>;
    function instantiate(module: Module, imports: Record<string, ModuleImports>): Promise<Instance>;
  }
}
